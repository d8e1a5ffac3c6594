//! The pipeline in the kernel and on the host, over the same plan.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use aya::programs::{TestRun as _, TestRunOptions};
use gateway_ebpf::{
    host::HostTables,
    note::Settled,
    pipeline::{self, Verdict},
    tables::Answered,
};
use gateway_userspace::{
    config,
    dataplane::{Answers, Counters, Dataplane},
    model::{InstanceName, Model},
    plan::{self, Desired, Interface, Mac, Plan, Side, Way},
};

use super::builder::OURS;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// What became of a frame, as can be told from outside: an XDP action, the frame, what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) action: Action,
    pub(crate) frame: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Drop,
    Pass,
    Transmit,
    Redirect,
}

/// What a program returned, and the frame as it left it.
pub(crate) fn outcome(returned: u32, frame: Vec<u8>) -> Outcome {
    let action = match returned {
        XDP_DROP => Action::Drop,
        XDP_PASS => Action::Pass,
        XDP_TX => Action::Transmit,
        XDP_REDIRECT => Action::Redirect,
        other => panic!("XDP action {other}"),
    };
    Outcome { action, frame }
}

impl Action {
    /// What a verdict comes to.
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Drop(_) => Self::Drop,
            Verdict::Pass | Verdict::Deliver => Self::Pass,
            Verdict::Transmit => Self::Transmit,
            Verdict::Redirect(_) => Self::Redirect,
            Verdict::Slow | Verdict::Reply => unreachable!("`balance` asks all programs"),
        }
    }
}

/// The model of the example in the documentation: gw-1 with weight 100, gw-2 with 50.
pub(crate) fn model() -> Model {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    config::load(&root.join("docs/examples/internal.toml")).unwrap()
}

/// The interface that test runs come in by: the loopback's.
pub(crate) const INTERFACE: u32 = 1;

/// The MAC of the n-th instance, n from 1.
pub(crate) const fn mac(n: u8) -> Mac {
    [0x02, 0, 0, 0, 1, n]
}

/// All instances resolved.
pub(crate) fn desired(model: Model) -> Desired {
    let ways = (1..).zip(&model.instances).flat_map(|(n, instance)| {
        let way = move |dip| Way { interface: INTERFACE, mac: mac(n), mtu: 1500, source: dip };
        instance.dip.iter().map(move |&dip| ((instance.name.clone(), dip), way(dip)))
    });
    Desired {
        ways: ways.collect(),
        model: Arc::new(model),
        interfaces: vec![Interface { index: INTERFACE, mac: OURS, side: Side::Both }],
        local: None,
        ended: BTreeSet::new(),
        gone: BTreeSet::new(),
        shares: BTreeMap::new(),
        leases: BTreeMap::new(),
        node_salt: 0x5eed,
        now: 1,
    }
}

/// The plan as it runs in the kernel.
pub(crate) struct Kernel {
    pub(crate) dataplane: Dataplane,
    pub(crate) plan: Plan,
}

impl Kernel {
    pub(crate) fn new(desired: &Desired) -> Self {
        let plan = plan::plan(desired, None).unwrap();
        let mut dataplane = Dataplane::load().unwrap_or_else(|error| {
            panic!("the kernel program cannot be loaded: {error}: {:?}", std::error::Error::source(&error))
        });
        dataplane.apply(&plan).unwrap();
        Self { dataplane, plan }
    }

    pub(crate) fn step(&mut self, desired: &Desired) {
        self.plan = plan::plan(desired, Some(&self.plan)).unwrap();
        self.dataplane.apply(&self.plan).unwrap();
    }

    pub(crate) fn run(&mut self, frame: &[u8]) -> Outcome {
        let mut out = vec![0; 4096];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = self.dataplane.program().unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        outcome(result.return_value, out)
    }

    pub(crate) fn counters(&self) -> Counted {
        Counted::from(self.dataplane.counters().unwrap())
    }
}

/// The plan as it runs on the host.
pub(crate) fn host(plan: &Plan) -> HostTables {
    HostTables::from(plan)
}

pub(crate) fn run_on_host(tables: &HostTables, frame: &[u8]) -> (Verdict, Outcome) {
    let mut frame = frame.to_vec();
    let verdict = pipeline::balance(&mut frame, tables);
    (verdict, Outcome { action: Action::of(verdict), frame })
}

/// Counters in a form that both targets give: what is zero is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Packets, bytes, SYNs by `VIP:port` or instance.
    pub(crate) forwarded: BTreeMap<String, (u64, u64, u64)>,
    /// Packets by VIP or service, and reason.
    pub(crate) dropped: BTreeMap<(String, &'static str), u64>,
    /// By kind.
    pub(crate) answered: BTreeMap<Answered, u64>,
    /// Packets of moved buckets by how their instance was found.
    pub(crate) steering: BTreeMap<&'static str, u64>,
}

impl From<Counters> for Counted {
    fn from(counters: Counters) -> Self {
        let forwarded = counters.services.into_iter().chain(counters.instances);
        let dropped = counters.drops.into_iter();
        let Answers { echo, error, reset, limited } = counters.answers;
        let answered = [
            (Answered::Echo, echo),
            (Answered::Error, error),
            (Answered::Reset, reset),
            (Answered::Limited, limited),
        ];
        Self {
            forwarded: forwarded
                .filter(|line| line.packets > 0)
                .map(|line| (line.name, (line.packets, line.bytes, line.syns)))
                .collect(),
            dropped: dropped.map(|line| ((line.name, borrowed(line.reason)), line.packets)).collect(),
            answered: answered.into_iter().filter(|&(_, count)| count > 0).collect(),
            steering: counters
                .steering
                .into_iter()
                .filter(|(_, packets)| *packets > 0)
                .map(|(way, packets)| (borrowed(way), packets))
                .collect(),
        }
    }
}

impl Counted {
    /// What came in between.
    pub(crate) fn difference(&self, after: &Self) -> Self {
        let mut difference = after.clone();
        difference.forwarded.retain(|name, now| {
            let was = self.forwarded.get(name).copied().unwrap_or_default();
            *now = (now.0 - was.0, now.1 - was.1, now.2 - was.2);
            now.0 > 0
        });
        difference.dropped.retain(|key, now| {
            *now -= self.dropped.get(key).copied().unwrap_or_default();
            *now > 0
        });
        difference.answered.retain(|kind, now| {
            *now -= self.answered.get(kind).copied().unwrap_or_default();
            *now > 0
        });
        difference.steering.retain(|way, now| {
            *now -= self.steering.get(way).copied().unwrap_or_default();
            *now > 0
        });
        difference
    }

    pub(crate) fn of_host(tables: &HostTables, plan: &Plan) -> Self {
        let counters = tables.counters.borrow();
        let scope = |number| match number {
            0 => "(no VIP)".to_owned(),
            number => name_of(&plan.scopes, number),
        };
        let services = counters.services.iter().map(|(&number, traffic)| (scope(number), traffic));
        let instances = counters.instances.iter().map(|(&number, t)| (name_of(&plan.numbers, number), t));
        Self {
            forwarded: services
                .chain(instances)
                .map(|(name, t)| (name, (t.packets, t.bytes, t.syns)))
                .collect(),
            dropped: counters
                .drops
                .iter()
                .map(|(&(n, reason), &count)| ((scope(n), reason.name()), count))
                .collect(),
            answered: counters.answers.clone(),
            steering: Settled::ALL
                .into_iter()
                .filter_map(|(settled, name)| Some((name, *counters.settled.get(&settled)?)))
                .collect(),
        }
    }
}

/// Counters that were read here, and not from JSON, have the names of the code itself.
fn borrowed(name: Cow<'static, str>) -> &'static str {
    match name {
        Cow::Borrowed(name) => name,
        Cow::Owned(name) => panic!("{name} was read from somewhere"),
    }
}

pub(crate) fn name(name: &str) -> InstanceName {
    InstanceName(name.to_owned())
}

/// Whose number it is.
fn name_of<K: ToString>(numbers: &BTreeMap<K, u16>, number: u16) -> String {
    numbers.iter().find(|&(_, &n)| n == number).unwrap().0.to_string()
}
