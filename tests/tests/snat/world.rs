//! One instance, its source NAT in the kernel and on the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aya::programs::{TestRun as _, TestRunOptions};
use gateway_ebpf::{
    reason::Reason,
    snat::{self, Verdict, host::HostFlows},
};
use gateway_userspace::{
    dataplane::snat::{Direction, Snat},
    plan::{
        PortBlock, Translation,
        translation::{Lease, Protocol},
    },
};
use lab::frame;

pub(crate) const DIP: &str = "10.0.0.11";
pub(crate) const DIP6: &str = "fd00:0:0:1::11";
pub(crate) const VIP: &str = "203.0.113.5";
pub(crate) const VIP6: &str = "2001:db8::5";
pub(crate) const PEER: &str = "198.51.100.7";
pub(crate) const PEER6: &str = "2001:db8:99::7";

const ON: u32 = u32::MAX;
const SHOT: u32 = 2;

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    On(Vec<u8>),
    Dropped(Reason),
}

/// Both sides, each asked the same.
pub(crate) enum World {
    Kernel(Box<Snat>),
    Host(Box<HostFlows>),
}

impl World {
    /// The kernel's and the host's.
    pub(crate) fn both(wanted: &Translation) -> [Self; 2] {
        [Self::kernel(wanted), Self::host(wanted)]
    }

    pub(crate) fn kernel(wanted: &Translation) -> Self {
        let mut snat = Snat::load().unwrap();
        snat.apply(wanted).unwrap();
        Self::Kernel(Box::new(snat))
    }

    pub(crate) fn host(wanted: &Translation) -> Self {
        let mut flows = Box::new(HostFlows::default());
        let running = flows.table.clone();
        wanted.write(&running, &mut flows.table).unwrap();
        Self::Host(flows)
    }

    pub(crate) fn send(&mut self, frame: &[u8]) -> Outcome {
        self.run(Direction::Out, frame)
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) -> Outcome {
        self.run(Direction::In, frame)
    }

    fn run(&mut self, direction: Direction, frame: &[u8]) -> Outcome {
        match self {
            Self::Host(flows) => {
                let mut frame = frame.to_vec();
                let verdict = match direction {
                    Direction::Out => snat::send(&mut frame, &**flows),
                    Direction::In => snat::arrive::arrive(&mut frame, &**flows),
                };
                match verdict {
                    Verdict::Dropped(reason) => Outcome::Dropped(reason),
                    Verdict::Untouched | Verdict::Translated => Outcome::On(frame),
                    Verdict::New | Verdict::Entered => panic!("half-way"),
                }
            }
            Self::Kernel(snat) => {
                let before = drops(snat);
                let mut out = vec![0; 4096];
                let options = TestRunOptions {
                    data_in: Some(frame),
                    data_out: Some(&mut out),
                    ..TestRunOptions::default()
                };
                let result = snat.program(direction).unwrap().test_run(options).unwrap();
                out.truncate(result.data_size_out as usize);
                match result.return_value {
                    ON => Outcome::On(out),
                    SHOT => {
                        let after = drops(snat);
                        let grown = |(&reason, count): (&Reason, &u64)| {
                            (before.get(&reason) != Some(count)).then_some(reason)
                        };
                        let reasons: Vec<_> = after.iter().filter_map(grown).collect();
                        assert_eq!(reasons.len(), 1, "one drop has one reason");
                        Outcome::Dropped(reasons[0])
                    }
                    other => panic!("TC action {other}"),
                }
            }
        }
    }
}

fn drops(snat: &Snat) -> BTreeMap<Reason, u64> {
    snat.counts().unwrap().drops
}

/// So many blocks of both VIPs, from port 8,192 on.
pub(crate) fn leased(blocks: u16) -> Translation {
    let active: BTreeSet<_> = (1024..1024 + blocks).map(PortBlock).collect();
    let lease = Lease { active, draining: BTreeSet::new() };
    Translation {
        dips: vec![ip(DIP), ip(DIP6)],
        inside: ["10.0.0.0/16", "fd00::/16"].map(|prefix| prefix.parse().unwrap()).into(),
        leases: [VIP, VIP6].map(|vip| (ip(vip), lease.clone())).into(),
        served: BTreeSet::from([(Protocol::Tcp, 3443)]),
        ..Translation::default()
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

/// A frame that carries this payload.
pub(crate) fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    frame::packet(MACS.0, MACS.1, from, to, protocol, payload)
}

/// A TCP segment with these flags.
pub(crate) fn tcp((from, port): (&str, u16), (to, to_port): (&str, u16), flags: u8) -> Vec<u8> {
    let (from, to) = (ip(from), ip(to));
    let tcp = frame::Tcp { flags, ..frame::Tcp::syn(port, to_port) };
    packet(from, to, frame::protocol::TCP, &tcp.segment(from, to, b"data"))
}

/// A datagram.
pub(crate) fn udp((from, port): (&str, u16), (to, to_port): (&str, u16)) -> Vec<u8> {
    let (from, to) = (ip(from), ip(to));
    packet(from, to, frame::protocol::UDP, &frame::udp(from, to, port, to_port, b"question"))
}

/// The source port that a packet left with.
pub(crate) fn port_of(outcome: &Outcome) -> u16 {
    let Outcome::On(frame) = outcome else { panic!("{outcome:?}") };
    frame::Packet::parse(frame).unwrap().ports.unwrap().0
}
