//! Packets of moved buckets, one rule after the other, in the kernel and on the host.

use std::collections::{BTreeMap, BTreeSet};

use gateway_ebpf::{
    host::HostTables,
    layout::{self, SERVICE_NOTED, Service},
};
use gateway_userspace::{
    model::{Affinity, Forwarding, Instance},
    plan::{self, Desired, Evidence, Mac, Plan, Scope, Way},
};
use network_types::ip::IpProto;

use super::{
    builder::{ACK, OURS, Packet, RST, SYN, checksum},
    parity::now,
    targets::{Action, Counted, Kernel, desired, mac, model, name, run_on_host},
};

const VIP: &str = "10.0.0.5";
const VIP6: &str = "fd00:0:0:1::5";
const CLIENT: &str = "10.0.7.7";
const CLIENT6: &str = "fd00:0:0:1::99";
const MTU: u16 = 1500;
/// Ethernet, an outer IPv4 header, UDP, GUE.
const GUE_AT: usize = 14 + 20 + 8;
/// The same over IPv6.
const GUE6_AT: usize = 14 + 40 + 8;

/// These instances, all reached by `mac` of their number.
fn fleet(numbers: &[u8], forwarding: Forwarding) -> Desired {
    let mut model = model();
    model.balancer.forwarding = forwarding;
    let all = (1..=4u8).map(|n| Instance {
        name: name(&format!("gw-{n}")),
        dip: vec![format!("10.0.0.1{n}").parse().unwrap()],
        ..model.instances[0].clone()
    });
    let all: Vec<Instance> = all.collect();
    model.instances = numbers.iter().map(|&n| all[usize::from(n) - 1].clone()).collect();
    let mut wish = desired(model);
    wish.ways = (1..)
        .zip(&all)
        .map(|(n, instance)| {
            let way = Way { interface: 1, mac: mac(n), mtu: MTU, source: "10.0.0.2".parse().unwrap() };
            ((instance.name.clone(), instance.dip[0]), way)
        })
        .collect();
    wish
}

/// Both targets in one state.
struct Both {
    kernel: Kernel,
    tables: HostTables,
    before: Counted,
}

/// What became of a packet of a moved bucket.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    /// Whose MAC it has; none: dropped for this reason.
    to: Result<u8, &'static str>,
    /// How it is counted.
    by: Option<&'static str>,
}

const fn to(instance: u8, by: &'static str) -> Settled {
    Settled { to: Ok(instance), by: Some(by) }
}

impl Both {
    fn new(wish: &Desired) -> Self {
        let kernel = Kernel::new(wish);
        let tables = HostTables::from(&kernel.plan);
        let before = kernel.counters();
        Self { kernel, tables, before }
    }

    /// Every bucket goes to these, one after the other.
    fn moved(owners: &[u8], forwarding: Forwarding) -> Self {
        let mut both = Self::new(&fleet(&owners[..1], forwarding));
        for owner in &owners[1..] {
            both.step(&fleet(&[*owner], forwarding));
        }
        both
    }

    fn step(&mut self, wish: &Desired) {
        let plan = plan::plan(wish, Some(&self.kernel.plan)).unwrap();
        self.apply(plan);
    }

    fn apply(&mut self, plan: Plan) {
        self.kernel.dataplane.apply(&plan).unwrap();
        plan.write(&mut self.tables.block);
        self.kernel.plan = plan;
    }

    fn run(&mut self, frame: &[u8]) -> (Action, Vec<u8>, Counted) {
        self.tables.now = now();
        self.tables.counters.replace(Default::default());
        let outcome = self.kernel.run(frame);
        let (verdict, on_host) = run_on_host(&self.tables, frame);
        assert_eq!(outcome, on_host, "{verdict:?}");
        let counters = self.kernel.counters();
        let counted = self.before.difference(&counters);
        self.before = counters;
        assert_eq!(counted, Counted::of_host(&self.tables, &self.kernel.plan));
        (outcome.action, outcome.frame, counted)
    }

    fn settle(&mut self, packet: Packet) -> Settled {
        let (action, frame, counted) = self.run(&packet.ip(CLIENT, VIP).ethernet(&[]));
        let to = match counted.dropped.keys().next() {
            Some((_, reason)) => Err(*reason),
            None => {
                assert_eq!(action, Action::Transmit, "{counted:?}");
                let to: Mac = frame[..6].try_into().unwrap();
                Ok((1..=4).find(|&n| mac(n) == to).unwrap())
            }
        };
        Settled { to, by: counted.steering.keys().next().copied() }
    }
}

fn tcp(port: u16, flags: u8, sequence: u32) -> Packet {
    Packet::tcp(port, 443, flags, sequence)
}

/// An ICMP error about a segment to the client.
fn quoting(port: u16) -> Packet {
    let quote = Packet::tcp(443, port, ACK, 1).ip(VIP, CLIENT).quoted(28);
    Packet::icmp(IpProto::Icmp, 3, 4, &quote)
}

#[test]
fn r12_each_packet_of_a_moved_bucket_is_settled_by_its_note_or_goes_to_the_oldest_owner() {
    let mut both = Both::moved(&[1, 2], Forwarding::L2);
    for (row, packet, expected) in [
        ("unnoted", tcp(1, ACK, 7), to(1, "previous")),
        ("RST, unnoted", tcp(1, RST, 7), to(1, "previous")),
        ("an error about it", quoting(1), to(1, "previous")),
        ("a new flow", tcp(2, SYN, 0x1000), to(2, "claimed")),
        ("its SYN again", tcp(2, SYN, 0x1000), to(2, "noted")),
        ("another SYN of the tuple", tcp(2, SYN, 0x7000_0000), to(1, "refused")),
        ("an error about what nobody has proved", quoting(2), to(1, "previous")),
        ("RST, which proves nothing", tcp(2, RST, 0x1001), to(2, "noted")),
        ("its first segment", tcp(2, ACK, 0x1001), to(2, "noted")),
        ("a later one", tcp(2, ACK, 0x9000_0000), to(2, "trusted")),
        ("an error about it, proved", quoting(2), to(2, "trusted")),
        ("a SYN at a trusted note", tcp(2, SYN, 0x4000_0000), to(2, "trusted")),
        ("a forged SYN", tcp(3, SYN, 0x7000_0000), to(2, "claimed")),
        ("the living flow", tcp(3, ACK, 0x1000), to(1, "refuted")),
        ("and for good, near the forged number too", tcp(3, ACK, 0x7000_0000), to(1, "trusted")),
    ] {
        assert_eq!(both.settle(packet), expected, "{row}");
    }
}

#[test]
fn several_changes_in_one_window_keep_every_flow() {
    let mut both = Both::moved(&[1, 2], Forwarding::L2);
    assert_eq!(both.settle(tcp(2, SYN, 5)), to(2, "claimed"));
    assert_eq!(both.settle(tcp(2, ACK, 6)), to(2, "noted"));
    both.step(&fleet(&[3], Forwarding::L2));
    assert_eq!(both.settle(tcp(3, SYN, 5)), to(3, "claimed"));
    // It comes back to the first owner, and there are notes to honour.
    both.step(&fleet(&[1], Forwarding::L2));
    assert_eq!(both.settle(tcp(1, ACK, 6)), to(1, "previous"));
    assert_eq!(both.settle(tcp(2, ACK, 7)), to(2, "trusted"));
    assert_eq!(both.settle(tcp(3, ACK, 6)), to(3, "noted"));
}

#[test]
fn windows_close_by_bucket_and_only_for_the_owner_that_the_evidence_names() {
    let mut both = Both::moved(&[1, 2], Forwarding::L2);
    let owner = both.kernel.plan.numbers[&name("gw-2")];
    let former = both.kernel.plan.numbers[&name("gw-1")];
    let half = |owner| Evidence { buckets: (0..30_000).map(|b| (b, owner)).collect(), affinity: false };
    let stale = plan::close(&both.kernel.plan, &half(former));
    assert_eq!(stale, both.kernel.plan);
    let closed = plan::close(&both.kernel.plan, &half(owner));
    assert_eq!(closed.ring.iter().filter(|word| word.is_moved()).count(), 65_537 - 30_000);
    both.apply(closed);
    let mut settled = BTreeMap::new();
    for port in 1000..1400 {
        let Settled { to, by } = both.settle(tcp(port, ACK, 1));
        *settled.entry((to.unwrap(), by)).or_insert(0) += 1;
    }
    assert_eq!(settled.keys().copied().collect::<Vec<_>>(), [(1, Some("previous")), (2, None)]);
}

#[test]
fn r82_where_an_instance_is_gone_its_flows_are_reset_and_new_ones_are_noted_elsewhere() {
    let mut both = Both::moved(&[1, 2, 3], Forwarding::L2);
    // Noted for gw-2, in a window that it had.
    both.step(&fleet(&[2], Forwarding::L2));
    assert_eq!(both.settle(tcp(2, SYN, 5)), to(2, "claimed"));
    assert_eq!(both.settle(tcp(2, ACK, 6)), to(2, "noted"));
    let mut wish = fleet(&[2, 3], Forwarding::L2);
    wish.gone.insert(name("gw-2"));
    both.step(&wish);
    assert_eq!(both.settle(tcp(1, ACK, 6)), to(1, "previous"), "another's flows stay");
    assert_eq!(both.settle(tcp(2, ACK, 7)), Settled { to: Err("gone"), by: Some("gone") });
    assert_eq!(both.settle(tcp(2, SYN, 0x7000_0000)), to(3, "claimed"), "it connects anew");
    assert_eq!(both.settle(tcp(2, ACK, 0x7000_0001)), to(3, "noted"));
    // The oldest owner too: what is not noted goes to the current one.
    wish.gone.insert(name("gw-1"));
    both.step(&wish);
    assert_eq!(both.settle(tcp(1, ACK, 6)), to(3, "previous"));
    assert_eq!(both.settle(tcp(2, SYN, 0x1000_0000)), to(3, "trusted"));
}

#[test]
fn r82_with_nobody_left_segments_are_reset_and_new_flows_find_nobody() {
    let mut wish = fleet(&[1], Forwarding::L2);
    let mut both = Both::new(&wish);
    wish.gone.insert(name("gw-1"));
    both.step(&wish);
    assert_eq!(both.settle(tcp(1, ACK, 6)), Settled { to: Err("gone"), by: Some("gone") });
    assert_eq!(both.settle(tcp(1, SYN, 6)).to, Err("no-instance"));
    wish.gone.clear();
    both.step(&wish);
    assert_eq!(both.settle(tcp(1, ACK, 6)), to(1, "previous"), "it was not gone after all");
}

#[test]
fn r80_an_affinity_is_switched_live_and_every_flow_stays() {
    let with = |affinity| {
        let mut wish = fleet(&[1, 2, 3], Forwarding::L2);
        let mut model = (*wish.model).clone();
        model.balancer.affinity = affinity;
        wish.model = model.into();
        wish
    };
    let mut both = Both::new(&with(Affinity::FiveTuple));
    let place = |both: &mut Both, port, flags, sequence| both.settle(tcp(port, flags, sequence)).to.unwrap();
    let old: Vec<u16> = (1000..1100).collect();
    let began: Vec<u8> = old.iter().map(|&port| place(&mut both, port, ACK, 7)).collect();
    assert_eq!(began.iter().collect::<BTreeSet<_>>().len(), 3);

    both.step(&with(Affinity::SourceAddress));
    let stayed: Vec<u8> = old.iter().map(|&port| place(&mut both, port, ACK, 7)).collect();
    assert_eq!(stayed, began);
    // New ones follow the client's address, all to one instance, and are noted.
    let opened: BTreeSet<u8> = (2000..2100).map(|port| place(&mut both, port, SYN, 7)).collect();
    assert_eq!(opened.len(), 1);
    let later: BTreeSet<u8> = (2000..2100).map(|port| place(&mut both, port, ACK, 8)).collect();
    assert_eq!(later, opened);

    // Another wish waits for the end of this switch.
    both.step(&with(Affinity::ThreeTuple));
    assert_eq!(old.iter().map(|&port| place(&mut both, port, ACK, 7)).collect::<Vec<_>>(), began);
    assert_eq!((2100..2200).map(|port| place(&mut both, port, SYN, 7)).collect::<BTreeSet<_>>(), opened);

    let all = both.kernel.plan.ring.iter().zip(0..).map(|(word, bucket)| (bucket, word.current())).collect();
    let early = plan::close(&both.kernel.plan, &Evidence { buckets: all, affinity: false });
    assert_eq!(early, both.kernel.plan, "no bucket closes before the switch does");
    let over = plan::close(&both.kernel.plan, &Evidence { affinity: true, ..Evidence::default() });
    both.apply(over);
    let unnoted: BTreeSet<u8> = (3000..3100).map(|port| place(&mut both, port, ACK, 7)).collect();
    assert_eq!(unnoted, opened);
}

#[test]
fn udp_flows_of_a_service_that_asks_for_it_keep_their_instance() {
    let mut both = Both::moved(&[1, 2], Forwarding::L2);
    let with_udp = |both: &mut Both, flags| {
        let mut plan = both.kernel.plan.clone();
        let vip = plan.scopes[&Scope::Vip(VIP.parse().unwrap())];
        let key = Service::key(vip, IpProto::Udp as u8, 443);
        let scope = plan.scopes[&Scope::Tcp(VIP.parse().unwrap(), 443)];
        let service = Service { key, scope, sources: 0, backend_port: 0, flags };
        let slot = layout::slot(key, plan.config.service_multiplier);
        assert!(plan.services.get(&slot).is_none_or(|there| there.key == key));
        plan.services.insert(slot, service);
        both.apply(plan);
    };
    let datagram = |port| Packet::udp(port, 443, b"data");
    with_udp(&mut both, 0);
    assert_eq!(both.settle(datagram(1)), to(2, "current"));
    with_udp(&mut both, SERVICE_NOTED);
    assert_eq!(both.settle(datagram(1)), to(1, "previous"));
    // Where the oldest owner is gone, they are noted for the current one.
    let mut wish = fleet(&[2], Forwarding::L2);
    wish.gone.insert(name("gw-1"));
    both.step(&wish);
    with_udp(&mut both, SERVICE_NOTED);
    assert_eq!(both.settle(datagram(1)), to(2, "claimed"));
    wish.model = fleet(&[3], Forwarding::L2).model;
    both.step(&wish);
    with_udp(&mut both, SERVICE_NOTED);
    assert_eq!(both.settle(datagram(1)), to(2, "noted"));
    assert_eq!(both.settle(datagram(2)), to(2, "previous"), "who may have begun there");
}

/// The private data of a GUE header: 36 bytes, as [`gateway_ebpf::headers::Hops`] documents them.
fn hops(generation: u32, instances: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, instances.len() as u8, 0, 0];
    bytes.extend(generation.to_be_bytes());
    for instance in instances {
        bytes.extend(plan::hop_id("contoso", &name(instance)).to_be_bytes());
    }
    bytes.resize(36, 0);
    bytes
}

/// Length of the private data in words, the data, and what follows.
fn gue(frame: &[u8], at: usize) -> (u8, &[u8], &[u8]) {
    let words = frame[at];
    let (data, inner) = frame[at + 4..].split_at(usize::from(words) * 4);
    (words, data, inner)
}

#[test]
fn r74_in_gue_a_moved_buckets_packet_names_the_windows_other_owners() {
    let mut both = Both::moved(&[1, 2, 3], Forwarding::Gue);
    let seed = &fleet(&[1], Forwarding::Gue).model.balancer.seed.clone();
    assert_eq!(seed, "contoso", "`hops` has it");
    let generation = both.kernel.plan.config.generation;
    for (row, packet, instance, others) in [
        ("unnoted: to the oldest, the current one last", tcp(1, ACK, 7), 1, &["gw-2", "gw-3"][..]),
        ("an error about it", quoting(1), 1, &["gw-2", "gw-3"]),
        ("a SYN asks nobody", tcp(2, SYN, 7), 3, &[]),
        ("noted: to that one, then the others", tcp(2, ACK, 8), 3, &["gw-1", "gw-2"]),
        ("trusted", tcp(2, ACK, 0x7000_0000), 3, &["gw-1", "gw-2"]),
        ("a SYN at a trusted note", tcp(2, SYN, 9), 3, &[]),
    ] {
        let frame = packet.ip(CLIENT, VIP).ethernet(&[]);
        let (action, out, counted) = both.run(&frame);
        assert_eq!((action, &out[..6]), (Action::Transmit, &mac(instance)[..]), "{row}: {counted:?}");
        let (words, data, inner) = gue(&out, GUE_AT);
        let expected = if others.is_empty() { vec![] } else { hops(generation, others) };
        assert_eq!((usize::from(words) * 4, data), (expected.len(), &expected[..]), "{row}");
        assert_eq!(inner.len(), frame.len() - 14, "{row}");
        assert_eq!(inner[12..], frame[26..], "{row}: the packet, but for hop limit and checksum");
        let total = u16::from_be_bytes(out[16..18].try_into().unwrap());
        assert_eq!(usize::from(total), out.len() - 14, "{row}");
        assert_eq!(checksum(&[&out[14..34]]), 0, "{row}");
    }
}

#[test]
fn r82_a_gone_owner_is_no_hop() {
    let mut both = Both::moved(&[1, 2, 3], Forwarding::Gue);
    let mut wish = fleet(&[3], Forwarding::Gue);
    wish.gone.insert(name("gw-2"));
    both.step(&wish);
    let (_, out, _) = both.run(&tcp(1, ACK, 7).ip(CLIENT, VIP).ethernet(&[]));
    assert_eq!(gue(&out, GUE_AT).1, hops(both.kernel.plan.config.generation, &["gw-3"]));
    // Nobody else: no list.
    wish.gone.insert(name("gw-1"));
    both.step(&wish);
    let (_, out, _) = both.run(&tcp(1, ACK, 7).ip(CLIENT, VIP).ethernet(&[]));
    assert_eq!((&out[..6], gue(&out, GUE_AT).0), (&mac(3)[..], 0));
}

#[test]
fn outside_windows_and_modes_there_are_no_hops() {
    let mut both = Both::new(&fleet(&[1, 2], Forwarding::Gue));
    let (_, out, counted) = both.run(&tcp(1, ACK, 7).ip(CLIENT, VIP).ethernet(&[]));
    assert_eq!((gue(&out, GUE_AT).0, counted.steering), (0, BTreeMap::new()));
    let mut both = Both::moved(&[1, 2], Forwarding::Ipip);
    let frame = tcp(1, ACK, 7).ip(CLIENT, VIP).ethernet(&[]);
    assert_eq!(both.run(&frame).1.len(), frame.len() + 20);
}

#[test]
fn over_ipv6_the_outer_checksum_counts_the_hops() {
    let over_v6 = |number: u8| {
        let mut wish = fleet(&[number], Forwarding::Gue);
        let mut model = (*wish.model).clone();
        for instance in &mut model.instances {
            let n = instance.name.0.trim_start_matches("gw-");
            instance.dip = vec![format!("fd00:0:0:1::1{n}").parse().unwrap()];
        }
        wish.model = model.into();
        wish.ways = (1..=2)
            .map(|n| {
                let dip = format!("fd00:0:0:1::1{n}").parse().unwrap();
                let way =
                    Way { interface: 1, mac: mac(n), mtu: MTU, source: "fd00:0:0:1::2".parse().unwrap() };
                ((name(&format!("gw-{n}")), dip), way)
            })
            .collect();
        wish
    };
    let mut both = Both::new(&over_v6(1));
    both.step(&over_v6(2));
    for (row, tags, frame) in [
        ("IPv4 inside", 0, tcp(1, ACK, 7).data(b"odd").ip(CLIENT, VIP).ethernet(&[])),
        ("IPv6 inside", 0, tcp(1, ACK, 7).data(b"even").ip(CLIENT6, VIP6).ethernet(&[])),
        ("tagged", 4, tcp(1, ACK, 7).ip(CLIENT6, VIP6).ethernet(&[(0x8100, 5)])),
    ] {
        let (action, out, counted) = both.run(&frame);
        assert_eq!(action, Action::Transmit, "{row}: {counted:?}");
        let (at, start) = (GUE6_AT + tags, 14 + tags);
        assert_eq!(gue(&out, at).1, hops(both.kernel.plan.config.generation, &["gw-2"]), "{row}");
        let udp = &out[start + 40..];
        let length = (udp.len() as u32).to_be_bytes();
        let sum = checksum(&[&out[start + 8..start + 40], &length, &[0, 0, 0, 17], udp]);
        assert_ne!(udp[6..8], [0, 0], "{row}");
        assert_eq!(sum, 0, "{row}");
    }
}

#[test]
fn r70_with_hops_so_much_less_fits_and_the_sender_is_told() {
    let mut both = Both::moved(&[1, 2], Forwarding::Gue);
    let fits = usize::from(MTU) - 32 - 36;
    let of = |length: usize| {
        tcp(1, ACK, 7).data(&vec![0; length - 40]).ip_with(CLIENT, VIP, &[], 0x4000).ethernet(&[])
    };
    assert_eq!(both.run(&of(fits)).1.len(), usize::from(MTU) + 14);
    let (action, out, counted) = both.run(&of(fits + 1));
    assert_eq!(counted.dropped.keys().map(|(_, reason)| *reason).collect::<Vec<_>>(), ["too-big"]);
    assert_eq!((action, &out[6..12]), (Action::Transmit, &OURS[..]));
    assert_eq!(out[34..36], [3, 4], "fragmentation needed");
    assert_eq!(usize::from(u16::from_be_bytes(out[40..42].try_into().unwrap())), fits);
}
