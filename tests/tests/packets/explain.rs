//! R63: what `gateway explain` says of a packet is what the kernel does with it, and its reason is the one that is counted.

use gateway_ebpf::{fragment, note, reason::Reason};
use gateway_userspace::{
    dataplane::Live,
    explain::{self, End, Flags, Known, Protocol, Question, document::Verdict},
    model::{Forwarding, Model},
};

use super::{
    builder::{ACK, FIN, RST, SYN},
    parity::{Random, now, number},
    targets::{Action, Counted, INTERFACE, Kernel, desired, host, model},
};

/// Each is looked up in all counters, before and after.
const PACKETS: usize = 1_000;

#[test]
fn r63_the_verdict_of_any_frame_is_the_kernels_with_its_reason() {
    for forwarding in [Forwarding::L2, Forwarding::Gue, Forwarding::Nat] {
        let mut pair = Pair::new(forwarding);
        for n in 0..number("GATEWAY_EXPLAIN_PACKETS", PACKETS) {
            let frame = pair.random.frame();
            let in_kernel = pair.run(&frame);
            let decision = explain::decide(&mut pair.known.tables, frame.clone());
            let told = (Action::of(decision.verdict), decision.reason().map(Reason::name));
            assert_eq!(told, in_kernel.verdict(), "{}, frame {n}: {frame:02x?}", pair.seed);
            let is_forwarded = in_kernel.instance().is_some();
            assert_eq!(decision.is_forwarded(), is_forwarded, "{}, frame {n}: {frame:02x?}", pair.seed);
        }
        pair.has_met_enough();
    }
}

#[test]
fn r63_the_verdict_of_any_question_is_the_kernels_with_its_reason_and_instance() {
    for forwarding in [Forwarding::L2, Forwarding::Ipip, Forwarding::Nat] {
        let mut pair = Pair::new(forwarding);
        for n in 0..number("GATEWAY_EXPLAIN_PACKETS", PACKETS) {
            let question = pair.random.question();
            let frame = explain::build(&question, &mut pair.known).unwrap();
            let in_kernel = pair.run(&frame);
            let told = explain::explain(&question, &mut pair.known, None).unwrap();
            let is_told = told.reason.as_ref().is_some_and(|reason| reason.sender_is_told);
            let action = match told.verdict {
                Verdict::Drop if !is_told => Action::Drop,
                // With `nat` the kernel is left to find the way of a reply to a client that it has no route to.
                Verdict::Pass | Verdict::Reply => Action::Pass,
                Verdict::Forward | Verdict::Answer | Verdict::Drop => Action::Transmit,
            };
            let reason = told.reason.as_ref().map(|reason| reason.name.as_str());
            let at = format!("{}, packet {n}: {question:?}", pair.seed);
            assert_eq!((action, reason), in_kernel.verdict(), "{at}");
            let instance = told.instance.filter(|_| told.verdict == Verdict::Forward).map(|one| one.name);
            assert_eq!(instance, in_kernel.instance(), "{at}");
        }
        pair.has_met_enough();
    }
}

/// The kernel, and what explains it: both with a ring of which some buckets are moved.
struct Pair {
    kernel: Kernel,
    known: Known,
    random: Random,
    seed: String,
    reasons: std::collections::BTreeSet<&'static str>,
    counted: Counted,
}

/// What the kernel did with a packet.
struct Outcome {
    action: Action,
    counted: Counted,
}

impl Pair {
    fn new(forwarding: Forwarding) -> Self {
        let mut model: Model = model();
        model.balancer.forwarding = forwarding;
        let mut wish = desired(model);
        let mut kernel = Kernel::new(&wish);
        let mut alone = (*wish.model).clone();
        alone.instances.truncate(1);
        wish.model = alone.into();
        kernel.step(&wish);
        let live = Live { tables: host(&kernel.plan), plan: kernel.plan.clone() };
        let seed = number("GATEWAY_PARITY_SEED", u64::from(std::process::id()));
        let counted = kernel.counters();
        Self {
            known: Known::of_program(live, [(INTERFACE, "lo".to_owned())].into()),
            kernel,
            random: Random::of(seed),
            seed: format!("{forwarding}, seed {seed}"),
            reasons: Default::default(),
            counted,
        }
    }

    fn run(&mut self, frame: &[u8]) -> Outcome {
        self.known.tables.now = now();
        let action = self.kernel.run(frame).action;
        // Where the coarse clock steps in between, the two would age notes differently.
        let time = self.known.tables.now;
        if note::epoch(now()) != note::epoch(time) || fragment::time(now()) != fragment::time(time) {
            self.known.tables.now = now();
        }
        let after = self.kernel.counters();
        let counted = self.counted.difference(&after);
        self.reasons.extend(counted.dropped.keys().map(|(_, reason)| *reason));
        self.counted = after;
        Outcome { action, counted }
    }

    /// A run that met only one kind of packet would show nothing.
    fn has_met_enough(&self) {
        assert!(self.reasons.len() >= 3, "{}: only {:?}", self.seed, self.reasons);
        assert!(self.counted.forwarded.contains_key("gw-1"), "{}: {:?}", self.seed, self.counted.forwarded);
        assert!(self.counted.forwarded.contains_key("gw-2"), "{}: {:?}", self.seed, self.counted.forwarded);
    }
}

impl Outcome {
    fn verdict(&self) -> (Action, Option<&str>) {
        (self.action, self.counted.dropped.keys().next().map(|(_, reason)| *reason))
    }

    fn instance(&self) -> Option<String> {
        self.counted.forwarded.keys().find(|name| name.starts_with("gw-")).cloned()
    }
}

impl Random {
    /// Of few clients and ports, so that notes are met again.
    fn question(&mut self) -> Question {
        let is_v6 = self.below(2) == 0;
        let client = 1 + self.below(4);
        let from = self.sender(is_v6, client);
        let to = match (is_v6, self.below(6)) {
            (false, 0) => "10.0.0.9",
            (false, 1) => "203.0.113.5",
            (false, _) => "10.0.0.5",
            (true, 0) => "fd00:0:0:1::9",
            (true, _) => "fd00:0:0:1::5",
        };
        let source_port = match self.below(8) {
            0 => self.one_of(&[10_443, 10_080, 23_443]),
            _ => 40_000 + self.below(200) as u16,
        };
        let port = self.one_of(&[443, 443, 443, 80, 3443, 22, 53]);
        let protocol =
            self.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Icmp]);
        let end = |ip: &str, port| End { ip: ip.parse().unwrap(), port: Some(port) };
        Question {
            from: end(&from, source_port),
            to: end(to, port),
            protocol,
            flags: Flags(self.one_of(&[SYN, SYN, ACK, ACK, FIN | ACK, RST, SYN | ACK, 0])),
            size: self.one_of(&[None, None, Some(60), Some(1480), Some(1481), Some(1500)]),
            interface: None,
            host: None,
            sni: None,
            path: "/".to_owned(),
        }
    }
}
