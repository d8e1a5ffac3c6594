//! What comes to a public VIP's ports by which instances' own flows leave (R21, R22, R34): to the instance that has the block.

use std::collections::BTreeMap;

use gateway_userspace::{
    model::{Forwarding, Model},
    plan::{Desired, PortBlock},
};
use network_types::ip::IpProto;

use super::{
    builder::{ACK, Packet, SYN, aged, forwarded},
    targets::{Action, Counted, Kernel, Outcome, desired, host, mac, model, name, run_on_host},
};

const PUBLIC: &str = "203.0.113.5";
const PUBLIC6: &str = "2001:db8::5";
const OUTSIDE: &str = "198.51.100.7";
const OUTSIDE6: &str = "2001:db8:1::7";
const DIP: &str = "10.0.0.11";
const DIP6: &str = "fd00:0:0:1::11";
/// The first port of each instance's one block.
const FIRST: u16 = 8192;
const SECOND: u16 = 8200;

fn leased(forwarding: Forwarding) -> Desired {
    let mut model: Model = model();
    model.vip.public = [PUBLIC, PUBLIC6].map(|vip| vip.parse().unwrap()).into();
    model.balancer.forwarding = forwarding;
    let blocks =
        BTreeMap::from([(PortBlock::of(FIRST), name("gw-1")), (PortBlock::of(SECOND), name("gw-2"))]);
    let leases = model.vip.public.iter().map(|&vip| (vip, blocks.clone())).collect();
    Desired { leases, ..desired(model) }
}

/// In kernel and on host alike.
fn run(kernel: &mut Kernel, row: &str, frame: &[u8]) -> (Outcome, Counted) {
    let before = kernel.counters();
    let outcome = kernel.run(frame);
    let tables = host(&kernel.plan);
    let (_, on_host) = run_on_host(&tables, frame);
    assert_eq!(outcome, on_host, "{row}: kernel and host");
    let counted = before.difference(&kernel.counters());
    assert_eq!(counted, Counted::of_host(&tables, &kernel.plan), "{row}: counters of kernel and host");
    (outcome, counted)
}

/// The answer to a ping of this identifier.
fn pong(protocol: IpProto, identifier: u16) -> Packet {
    let kind = if protocol == IpProto::Icmp { 0 } else { 129 };
    let [high, low] = identifier.to_be_bytes();
    Packet::icmp(protocol, kind, 0, b"ping").byte(4, high).byte(5, low)
}

fn answer(port: u16) -> Packet {
    Packet::tcp(443, port, SYN | ACK, 1)
}

#[test]
fn r21_answers_reach_the_instance_that_has_the_block() {
    let mut kernel = Kernel::new(&leased(Forwarding::L2));
    for (row, packet, number) in [
        ("TCP", answer(FIRST + 7).ip(OUTSIDE, PUBLIC), 1),
        ("TCP, the next block", answer(SECOND).ip(OUTSIDE, PUBLIC), 2),
        ("UDP", Packet::udp(53, FIRST, b"answer").ip(OUTSIDE, PUBLIC), 1),
        ("ICMP", pong(IpProto::Icmp, SECOND).ip(OUTSIDE, PUBLIC), 2),
        ("v6 TCP", answer(FIRST).ip(OUTSIDE6, PUBLIC6), 1),
        ("v6 UDP", Packet::udp(53, SECOND, b"answer").ip(OUTSIDE6, PUBLIC6), 2),
        ("v6 ICMP", pong(IpProto::Ipv6Icmp, FIRST).ip(OUTSIDE6, PUBLIC6), 1),
    ] {
        let frame = packet.ethernet(&[]);
        let (outcome, _) = run(&mut kernel, row, &frame);
        assert_eq!(
            outcome,
            Outcome { action: Action::Transmit, frame: forwarded(&frame, mac(number)) },
            "{row}"
        );
    }
}

#[test]
fn r21_nobody_begins_anything_at_such_a_port() {
    let mut kernel = Kernel::new(&leased(Forwarding::L2));
    for (row, packet, reason) in [
        ("a SYN", Packet::tcp(443, FIRST, SYN, 1).ip(OUTSIDE, PUBLIC), "snat-syn"),
        ("nobody's port", answer(SECOND + 8).ip(OUTSIDE, PUBLIC), "no-service"),
        ("nobody's identifier", pong(IpProto::Icmp, FIRST - 1).ip(OUTSIDE, PUBLIC), "no-service"),
    ] {
        let frame = packet.ethernet(&[]);
        let (outcome, counted) = run(&mut kernel, row, &frame);
        assert_eq!(outcome, Outcome { action: Action::Drop, frame }, "{row}");
        assert_eq!(counted.dropped, [((PUBLIC.to_owned(), reason), 1)].into(), "{row}");
    }
}

#[test]
fn r31_with_nat_answers_get_the_dip_and_keep_their_port() {
    let mut kernel = Kernel::new(&leased(Forwarding::Nat));
    let udp = || Packet::udp(53, FIRST, b"answer");
    let (v4, v6) = (IpProto::Icmp, IpProto::Ipv6Icmp);
    for (row, packet, expected) in [
        ("TCP", answer(FIRST).ip(OUTSIDE, PUBLIC), answer(FIRST).ip(OUTSIDE, DIP)),
        ("UDP", udp().ip(OUTSIDE, PUBLIC), udp().ip(OUTSIDE, DIP)),
        ("ICMP", pong(v4, FIRST).ip(OUTSIDE, PUBLIC), pong(v4, FIRST).ip(OUTSIDE, DIP)),
        ("v6 TCP", answer(FIRST).ip(OUTSIDE6, PUBLIC6), answer(FIRST).ip(OUTSIDE6, DIP6)),
        ("v6 UDP", udp().ip(OUTSIDE6, PUBLIC6), udp().ip(OUTSIDE6, DIP6)),
        ("v6 ICMP", pong(v6, FIRST).ip(OUTSIDE6, PUBLIC6), pong(v6, FIRST).ip(OUTSIDE6, DIP6)),
    ] {
        let (outcome, _) = run(&mut kernel, row, &packet.ethernet(&[]));
        let expected = forwarded(&aged(expected.ethernet(&[])), mac(1));
        assert_eq!(outcome, Outcome { action: Action::Transmit, frame: expected }, "{row}");
    }
}

#[test]
fn r22_an_error_reaches_the_instance_whose_flow_it_quotes() {
    let mut kernel = Kernel::new(&leased(Forwarding::L2));
    let quote = |port: u16| Packet::tcp(port, 443, ACK, 1).ip(PUBLIC, OUTSIDE).quoted(28);
    let error = |port| Packet::icmp(IpProto::Icmp, 3, 4, &quote(port)).ip("192.0.2.1", PUBLIC);
    let frame = error(SECOND).ethernet(&[]);
    let (outcome, _) = run(&mut kernel, "leased", &frame);
    assert_eq!(outcome, Outcome { action: Action::Transmit, frame: forwarded(&frame, mac(2)) });
    let (outcome, counted) = run(&mut kernel, "nobody's", &error(SECOND + 8).ethernet(&[]));
    assert_eq!(outcome.action, Action::Drop);
    assert_eq!(counted.dropped, [((PUBLIC.to_owned(), "icmp-quote"), 1)].into());
}

#[test]
fn r22_with_nat_an_error_quotes_what_the_instance_sent_its_pings_too() {
    let mut kernel = Kernel::new(&leased(Forwarding::Nat));
    let error = |quote: Vec<u8>, vip| Packet::icmp(IpProto::Icmp, 3, 4, &quote).ip("192.0.2.1", vip);
    let error6 = |quote: Vec<u8>, vip| Packet::icmp(IpProto::Ipv6Icmp, 2, 0, &quote).ip("2001:db8:2::1", vip);
    let echo = |protocol: IpProto, from, to| {
        let kind = if protocol == IpProto::Icmp { 8 } else { 128 };
        let [high, low] = FIRST.to_be_bytes();
        Packet::icmp(protocol, kind, 0, b"ping").byte(4, high).byte(5, low).ip(from, to).quoted(usize::MAX)
    };
    let ping = |from| echo(IpProto::Icmp, from, OUTSIDE);
    let ping6 = |from| echo(IpProto::Ipv6Icmp, from, OUTSIDE6);
    let tcp = |from| Packet::tcp(FIRST, 443, ACK, 1).ip(from, OUTSIDE).quoted(28);
    for (row, packet, expected) in [
        ("TCP", error(tcp(PUBLIC), PUBLIC), error(tcp(DIP), DIP)),
        ("a ping", error(ping(PUBLIC), PUBLIC), error(ping(DIP), DIP)),
        ("a ping over IPv6", error6(ping6(PUBLIC6), PUBLIC6), error6(ping6(DIP6), DIP6)),
    ] {
        let (outcome, _) = run(&mut kernel, row, &packet.ethernet(&[]));
        let expected = forwarded(&aged(expected.ethernet(&[])), mac(1));
        assert_eq!(outcome, Outcome { action: Action::Transmit, frame: expected }, "{row}");
    }
}
