//! An instance, gw-1 of three, in the kernel and on the host.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use aya::programs::{TestRun as _, TestRunOptions};
use gateway_ebpf::{
    address::{Address, ports},
    decap,
    host::{HostSockets, HostTables},
};
use gateway_userspace::{
    dataplane::{Decapsulation, Settlements},
    model::Model,
    plan::{self, Interface, OnInstance, Plan, Side, Way, hop_id},
};

use crate::{
    builder::{ACK, CLIENT, OURS, Packet},
    targets::{Action, Counted, INTERFACE, Outcome, mac, model, name, outcome},
};

pub(crate) const BALANCER: &str = "10.0.0.2";
pub(crate) const BALANCER6: &str = "fd00:0:0:1::2";
pub(crate) const DIP: &str = "10.0.0.11";
pub(crate) const DIP6: &str = "fd00:0:0:1::11";
pub(crate) const VIP: &str = "10.0.0.5";
pub(crate) const VIP6: &str = "fd00:0:0:1::5";
pub(crate) const INSIDE: &str = "10.0.7.7";
pub(crate) const INSIDE6: &str = "fd00:0:0:1::99";

/// gw-1 has weight 100, gw-2 50, gw-3 50.
fn three() -> Model {
    let mut model = model();
    let mut third = model.instances[1].clone();
    third.name = name("gw-3");
    third.dip = vec!["10.0.0.13".parse().unwrap(), "fd00:0:0:1::13".parse().unwrap()];
    model.instances.push(third);
    model.balancer.address = vec![BALANCER.parse().unwrap(), BALANCER6.parse().unwrap()];
    model
}

/// What gw-1 knows. With `v6` the balancers reach the instances over IPv6.
pub(crate) fn wish(v6: bool) -> OnInstance {
    let mut model = three();
    if v6 {
        model.instances.iter_mut().for_each(|instance| instance.dip.reverse());
    }
    let ways = (1..).zip(&model.instances).skip(1).flat_map(|(n, instance)| {
        let way = move |dip| Way { interface: INTERFACE, mac: mac(n), mtu: 1500, source: dip };
        instance.dip.iter().map(move |&dip| ((instance.name.clone(), dip), way(dip)))
    });
    OnInstance {
        ways: ways.collect(),
        name: name("gw-1"),
        interfaces: vec![Interface { index: INTERFACE, mac: OURS, side: Side::Inside }],
        model: Arc::new(model),
    }
}

/// gw-1.
pub(crate) struct Instance {
    pub(crate) decapsulation: Decapsulation,
    pub(crate) plan: Plan,
    /// What the host's side takes for this host's sockets.
    pub(crate) sockets: HostSockets,
    before: (Counted, Settlements),
}

/// What became of a frame, and what was counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Became {
    pub(crate) outcome: Outcome,
    pub(crate) counted: Counted,
    pub(crate) settled: Settlements,
}

impl Instance {
    pub(crate) fn new(wish: &OnInstance) -> Self {
        let plan = plan::instance(wish, None).unwrap();
        let mut decapsulation = Decapsulation::load().unwrap_or_else(|error| {
            panic!("the kernel program cannot be loaded: {error}: {:?}", std::error::Error::source(&error))
        });
        decapsulation.apply(&plan).unwrap();
        Self { decapsulation, plan, sockets: HostSockets::default(), before: Default::default() }
    }

    /// In the kernel.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Became {
        let mut out = vec![0; 4096];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = self.decapsulation.program().unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let now = (
            Counted::from(self.decapsulation.counters().unwrap()),
            self.decapsulation.settlements().unwrap(),
        );
        let mut settled = now.1.clone();
        settled.retain(|how, count| {
            *count -= self.before.1.get(how).copied().unwrap_or_default();
            *count > 0
        });
        let counted = self.before.0.difference(&now.0);
        self.before = now;
        Became { outcome: outcome(result.return_value, out), counted, settled }
    }

    /// On the host, with fresh counters.
    pub(crate) fn run_on_host(&self, frame: &[u8]) -> Became {
        let tables = HostTables::from(&self.plan);
        let mut frame = frame.to_vec();
        let before = self.sockets.settled.borrow().clone();
        let verdict = decap::decap(&mut frame, &tables, &self.sockets);
        let mut settled: BTreeMap<_, _> = self.sockets.settled.borrow().clone();
        settled.retain(|how, count| {
            *count -= before.get(how).copied().unwrap_or_default();
            *count > 0
        });
        let counted = Counted::of_host(&tables, &self.plan);
        Became { outcome: Outcome { action: Action::of(verdict), frame }, counted, settled }
    }

    /// In both, which have to agree.
    pub(crate) fn both(&mut self, row: &str, frame: &[u8]) -> Became {
        let became = self.run(frame);
        assert_eq!(became, self.run_on_host(frame), "{row}: kernel and host");
        became
    }

    /// The packet of `frame` comes out as it went in but for `inner`, counted for `service`.
    pub(crate) fn unwraps(&mut self, row: &str, frame: &[u8], inner: Packet, service: &str) -> Became {
        let became = self.both(row, frame);
        assert_eq!(became.outcome.action, Action::Pass, "{row}: {:?}", became.counted);
        assert_eq!(became.outcome.frame, inner.ethernet(&[]), "{row}");
        let lines: Vec<_> =
            became.counted.forwarded.iter().map(|(name, line)| (name.as_str(), line.0)).collect();
        assert_eq!(lines, [(service, 1), ("gw-1", 1)], "{row}");
        became
    }

    pub(crate) fn drops(&mut self, row: &str, frame: &[u8], scope: &str, reason: &'static str) {
        let became = self.both(row, frame);
        assert_eq!(became.outcome.action, Action::Drop, "{row}: {:?}", became.outcome.frame);
        let dropped = [((scope.to_owned(), reason), 1)].into();
        assert_eq!(became.counted, Counted { dropped, ..Counted::default() }, "{row}");
    }

    pub(crate) fn passes(&mut self, row: &str, frame: &[u8]) {
        let became = self.both(row, frame);
        assert_eq!((became.outcome.action, became.outcome.frame.as_slice()), (Action::Pass, frame), "{row}");
        assert_eq!(became.counted, Counted::default(), "{row}");
    }
}

/// A segment of an established flow to 443.
pub(crate) fn segment(vip: &str) -> Packet {
    let source = if vip.contains(':') { INSIDE6 } else { INSIDE };
    Packet::tcp(50_000, 443, ACK, 7).data(b"hello").ip(source, vip)
}

/// The private data of a moved bucket: how many were asked, generation, ids.
pub(crate) fn list(next: u8, generation: u32, ids: &[u32]) -> Vec<u8> {
    let mut bytes = vec![next, ids.len() as u8, 0, 0];
    bytes.extend(generation.to_be_bytes());
    for place in 0..7 {
        bytes.extend(ids.get(place).copied().unwrap_or_default().to_be_bytes());
    }
    bytes
}

/// The frame with other MACs, as one that gw-1 sends to the n-th instance.
pub(crate) fn to_instance(n: u8, mut frame: Vec<u8>) -> Vec<u8> {
    assert_eq!(frame[6..12], CLIENT);
    frame[..6].copy_from_slice(&mac(n));
    frame[6..12].copy_from_slice(&OURS);
    frame
}

/// What gw-2 and gw-3 are called in a list.
pub(crate) fn ids() -> (u32, u32) {
    let seed = wish(false).model.balancer.seed.clone();
    (hop_id(&seed, &name("gw-2")), hop_id(&seed, &name("gw-3")))
}

/// A flow from `port` of a client to 443 of the VIP of its family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) client: &'static str,
    pub(crate) vip: &'static str,
    pub(crate) port: u16,
}

pub(crate) const V4: Flow = Flow { client: INSIDE, vip: VIP, port: 50_000 };
pub(crate) const V6: Flow = Flow { client: INSIDE6, vip: VIP6, port: 50_000 };

impl Flow {
    pub(crate) fn segment(self, flags: u8, sequence: u32) -> Packet {
        Packet::tcp(self.port, 443, flags, sequence).ip(self.client, self.vip)
    }

    /// As the host's side of the pipeline knows it.
    pub(crate) fn key(self) -> (Address, u32, Address) {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        (address(self.client), ports(self.port, 443), address(self.vip))
    }

    pub(crate) fn service(self) -> &'static str {
        if self.vip == VIP { "10.0.0.5:443" } else { "[fd00:0:0:1::5]:443" }
    }
}

/// The segment in GUE from the balancer to gw-1, with a list of hops.
pub(crate) fn steered(inner: Packet, private: &[u8]) -> Packet {
    inner.gue(0xc001, private).ip(BALANCER, DIP)
}
