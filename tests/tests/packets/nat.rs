//! Nat mode: what a client sends gets the instance's address and port, and what the instance answers the VIP's. Each frame that
//! has to come out is built by itself, with checksums computed over all of it.

use std::{collections::BTreeMap, sync::Arc};

use gateway_ebpf::{
    address::Address,
    headers::Macs,
    host::HostTables,
    layout::{self, Reply, Service},
    pipeline::Verdict,
    tables::Route,
};
use gateway_userspace::{
    model::{Forwarding, Model},
    plan::{Desired, Interface, Plan, Side},
};
use lab::host::Host;
use network_types::ip::IpProto;
use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

use super::{
    builder::{ACK, OURS, Packet, SYN, aged, forwarded},
    targets::{Action, Kernel, Outcome, desired, host, mac, model, run_on_host},
};

const VIP: &str = "10.0.0.5";
const VIP6: &str = "fd00:0:0:1::5";
const PUBLIC: &str = "203.0.113.5";
const DIP: &str = "10.0.0.11";
const DIP6: &str = "fd00:0:0:1::11";
const CLIENT: &str = "10.0.7.7";
const CLIENT6: &str = "fd00:0:0:1::99";
const OUTSIDE: &str = "198.51.100.7";
const ROUTER: &str = "10.0.3.1";
const DOT1Q: u16 = 0x8100;

/// One instance, so that it is known which one a packet goes to.
fn nat_model() -> Model {
    let mut model = model();
    model.balancer.forwarding = Forwarding::Nat;
    model.instances.truncate(1);
    model
}

/// The plan in the kernel, with each service over UDP too: no role of the file has one yet.
fn kernel(desired: &Desired) -> Kernel {
    let mut kernel = Kernel::new(desired);
    add_udp(&mut kernel.plan);
    kernel.dataplane.apply(&kernel.plan).unwrap();
    kernel
}

fn add_udp(plan: &mut Plan) {
    const TO_UDP: u64 = (IpProto::Tcp as u64 ^ IpProto::Udp as u64) << 16;
    let config = plan.config;
    let services = plan.services.values().map(|service| Service { key: service.key ^ TO_UDP, ..*service });
    let services: Vec<_> =
        services.map(|service| (layout::slot(service.key, config.service_multiplier), service)).collect();
    let replies = plan.replies.values().map(|reply| Reply { key: reply.key ^ TO_UDP, ..*reply });
    let replies: Vec<_> =
        replies.map(|reply| (layout::slot(reply.key, config.reply_multiplier), reply)).collect();
    for (slot, service) in services {
        assert_eq!(plan.services.insert(slot, service), None, "a collision: take another port");
    }
    for (slot, reply) in replies {
        assert_eq!(plan.replies.insert(slot, reply), None, "a collision: take another port");
    }
}

/// In kernel and on host alike.
fn run(kernel: &mut Kernel, row: &str, frame: &[u8]) -> Outcome {
    let outcome = kernel.run(frame);
    let (_, on_host) = run_on_host(&host(&kernel.plan), frame);
    assert_eq!(outcome, on_host, "{row}: kernel and host");
    outcome
}

/// What a packet is and what it has to become: both whole IP packets.
fn requests(rows: Vec<(&str, Packet, Packet)>) {
    let mut kernel = kernel(&desired(nat_model()));
    for (row, packet, expected) in rows {
        let outcome = run(&mut kernel, row, &packet.ethernet(&[]));
        let expected = forwarded(&aged(expected.ethernet(&[])), mac(1));
        assert_eq!(outcome, Outcome { action: Action::Transmit, frame: expected }, "{row}");
    }
}

/// As [`requests`], for the way back. Nothing is known of the way to the client here, so the kernel gets the packet to route,
/// and it is the kernel that takes the hop away.
fn replies(rows: Vec<(&str, Packet, Packet)>) {
    let mut kernel = kernel(&desired(nat_model()));
    for (row, packet, expected) in rows {
        let outcome = run(&mut kernel, row, &packet.ethernet(&[]));
        let expected = expected.ethernet(&[]);
        assert_eq!(outcome, Outcome { action: Action::Pass, frame: expected }, "{row}");
    }
    assert!(kernel.counters().dropped.is_empty());
}

fn syn(from: u16, to: u16) -> Packet {
    Packet::tcp(from, to, SYN, 1)
}

fn data(from: u16, to: u16, data: &[u8]) -> Packet {
    Packet::tcp(from, to, ACK, 7).data(data)
}

/// UDP over IPv4 whose sender left the checksum out.
fn unchecked(packet: Packet) -> Packet {
    let mut bytes = packet.quoted(usize::MAX);
    bytes[26..28].fill(0);
    Packet::ready(&bytes)
}

/// An ICMP error about what a host sent.
fn error(quote: &[u8]) -> Packet {
    Packet::icmp(IpProto::Icmp, 3, 4, quote)
}

fn error6(quote: &[u8]) -> Packet {
    Packet::icmp(IpProto::Ipv6Icmp, 2, 0, quote)
}

fn hop_by_hop(packet: Packet) -> Packet {
    packet.extension(IpProto::HopOpt, &[0, 5, 2, 0, 0, 1, 0])
}

#[test]
fn requests_get_the_instances_address_and_port() {
    let options = &[7, 7, 4, 0, 0, 0, 0, 0];
    requests(vec![
        ("SYN", syn(50_000, 443).ip(CLIENT, VIP), syn(50_000, 10_443).ip(CLIENT, DIP)),
        ("port 80", syn(50_000, 80).ip(CLIENT, VIP), syn(50_000, 10_080).ip(CLIENT, DIP)),
        ("public", syn(50_000, 3443).ip(OUTSIDE, PUBLIC), syn(50_000, 23_443).ip(OUTSIDE, DIP)),
        ("odd", data(9, 443, b"odd").ip(CLIENT, VIP), data(9, 10_443, b"odd").ip(CLIENT, DIP)),
        ("IPv6", data(9, 443, b"odd").ip(CLIENT6, VIP6), data(9, 10_443, b"odd").ip(CLIENT6, DIP6)),
        (
            "UDP",
            Packet::udp(9, 443, b"hello").ip(CLIENT, VIP),
            Packet::udp(9, 10_443, b"hello").ip(CLIENT, DIP),
        ),
        (
            "UDP without checksum",
            unchecked(Packet::udp(9, 443, b"hello").ip(CLIENT, VIP)),
            unchecked(Packet::udp(9, 10_443, b"hello").ip(CLIENT, DIP)),
        ),
        (
            "UDP over IPv6",
            Packet::udp(9, 443, b"hello").ip(CLIENT6, VIP6),
            Packet::udp(9, 10_443, b"hello").ip(CLIENT6, DIP6),
        ),
        (
            "options",
            data(9, 443, b"odd").ip_with(CLIENT, VIP, options, 0x4000),
            data(9, 10_443, b"odd").ip_with(CLIENT, DIP, options, 0x4000),
        ),
        (
            "extension headers",
            hop_by_hop(data(9, 443, b"odd")).ip(CLIENT6, VIP6),
            hop_by_hop(data(9, 10_443, b"odd")).ip(CLIENT6, DIP6),
        ),
    ]);
}

#[test]
fn replies_get_the_vips_address_and_port() {
    let options = &[7, 7, 4, 0, 0, 0, 0, 0];
    replies(vec![
        ("data", data(10_443, 50_000, b"odd").ip(DIP, CLIENT), data(443, 50_000, b"odd").ip(VIP, CLIENT)),
        ("public", data(23_443, 9, b"odd").ip(DIP, OUTSIDE), data(3443, 9, b"odd").ip(PUBLIC, OUTSIDE)),
        ("IPv6", data(10_080, 9, b"odd").ip(DIP6, CLIENT6), data(80, 9, b"odd").ip(VIP6, CLIENT6)),
        (
            "UDP",
            Packet::udp(10_443, 9, b"hello").ip(DIP, CLIENT),
            Packet::udp(443, 9, b"hello").ip(VIP, CLIENT),
        ),
        (
            "UDP without checksum",
            unchecked(Packet::udp(10_443, 9, b"hello").ip(DIP, CLIENT)),
            unchecked(Packet::udp(443, 9, b"hello").ip(VIP, CLIENT)),
        ),
        (
            "UDP over IPv6",
            Packet::udp(10_443, 9, b"hello").ip(DIP6, CLIENT6),
            Packet::udp(443, 9, b"hello").ip(VIP6, CLIENT6),
        ),
        (
            "options",
            data(10_443, 9, b"odd").ip_with(DIP, CLIENT, options, 0x4000),
            data(443, 9, b"odd").ip_with(VIP, CLIENT, options, 0x4000),
        ),
        (
            "extension headers",
            hop_by_hop(data(10_443, 9, b"odd")).ip(DIP6, CLIENT6),
            hop_by_hop(data(443, 9, b"odd")).ip(VIP6, CLIENT6),
        ),
    ]);
}

/// RFC 5508 §4.2: the quoted packet becomes what the instance sent, with all of its checksums.
#[test]
fn icmp_errors_about_replies_quote_what_the_instance_sent() {
    let rows = [8, 18, 20, 23].map(|octets| {
        let quote = |port, from| data(port, 50_000, b"odd").ip(from, CLIENT).quoted(20 + octets);
        (
            "TCP, quoted as far as that",
            error(&quote(443, VIP)).ip(ROUTER, VIP),
            error(&quote(10_443, DIP)).ip(ROUTER, DIP),
        )
    });
    let quote6 = |port, from, octets: usize| data(port, 9, b"odd").ip(from, CLIENT6).quoted(40 + octets);
    let udp = |port, from| Packet::udp(port, 9, b"hello").ip(from, CLIENT);
    let udp6 = |port, from| Packet::udp(port, 9, b"hello").ip(from, CLIENT6).quoted(53);
    let extended = |port, from| hop_by_hop(data(port, 9, b"odd")).ip(from, CLIENT6).quoted(68);
    let options = |port, from| data(port, 9, b"odd").ip_with(from, CLIENT, &[1, 1, 1, 0], 0).quoted(44);
    let (whole, bare) = (usize::MAX, 28);
    let mut rows = Vec::from(rows);
    rows.extend([
        (
            "IPv6",
            error6(&quote6(443, VIP6, 23)).ip(CLIENT6, VIP6),
            error6(&quote6(10_443, DIP6, 23)).ip(CLIENT6, DIP6),
        ),
        (
            "IPv6, eight octets",
            error6(&quote6(443, VIP6, 8)).ip(CLIENT6, VIP6),
            error6(&quote6(10_443, DIP6, 8)).ip(CLIENT6, DIP6),
        ),
        (
            "UDP",
            error(&udp(443, VIP).quoted(whole)).ip(ROUTER, VIP),
            error(&udp(10_443, DIP).quoted(whole)).ip(ROUTER, DIP),
        ),
        (
            "UDP without checksum",
            error(&unchecked(udp(443, VIP)).quoted(bare)).ip(ROUTER, VIP),
            error(&unchecked(udp(10_443, DIP)).quoted(bare)).ip(ROUTER, DIP),
        ),
        (
            "UDP over IPv6",
            error6(&udp6(443, VIP6)).ip(CLIENT6, VIP6),
            error6(&udp6(10_443, DIP6)).ip(CLIENT6, DIP6),
        ),
        (
            "quoted options",
            error(&options(443, VIP)).ip(ROUTER, VIP),
            error(&options(10_443, DIP)).ip(ROUTER, DIP),
        ),
        (
            "quoted extension headers",
            error6(&extended(443, VIP6)).ip(CLIENT6, VIP6),
            error6(&extended(10_443, DIP6)).ip(CLIENT6, DIP6),
        ),
        (
            "about a client outside, from a router there",
            error(&data(3443, 9, b"").ip(PUBLIC, OUTSIDE).quoted(28)).ip("192.0.2.9", PUBLIC),
            error(&data(23_443, 9, b"").ip(DIP, OUTSIDE).quoted(28)).ip("192.0.2.9", DIP),
        ),
    ]);
    requests(rows);
}

#[test]
fn icmp_errors_of_an_instance_quote_what_the_client_sent() {
    let quote = |to, port, octets: usize| syn(50_000, port).ip(CLIENT, to).quoted(20 + octets);
    let quote6 = |to, port| data(50_000, port, b"odd").ip(CLIENT6, to).quoted(63);
    let udp = |to, port| Packet::udp(9, port, b"hello").ip(CLIENT, to);
    replies(vec![
        ("TCP", error(&quote(DIP, 10_443, 20)).ip(DIP, CLIENT), error(&quote(VIP, 443, 20)).ip(VIP, CLIENT)),
        (
            "eight octets",
            error(&quote(DIP, 10_443, 8)).ip(DIP, CLIENT),
            error(&quote(VIP, 443, 8)).ip(VIP, CLIENT),
        ),
        (
            "IPv6",
            error6(&quote6(DIP6, 10_443)).ip(DIP6, CLIENT6),
            error6(&quote6(VIP6, 443)).ip(VIP6, CLIENT6),
        ),
        (
            "UDP without checksum",
            error(&unchecked(udp(DIP, 10_443)).quoted(99)).ip(DIP, CLIENT),
            error(&unchecked(udp(VIP, 443)).quoted(99)).ip(VIP, CLIENT),
        ),
    ]);
}

#[test]
fn what_is_no_reply_passes_untouched() {
    let mut kernel = kernel(&desired(nat_model()));
    let echo = Packet::icmp(IpProto::Icmp, 0, 0, &syn(1, 10_443).ip(CLIENT, DIP).quoted(28));
    let last_hop =
        |packet: Packet| packet.ipv6(DIP6.parse().unwrap(), CLIENT6.parse().unwrap(), 1).ethernet(&[]);
    let cut = |octets: usize| {
        let bytes = data(10_443, 9, b"").ip(DIP, CLIENT).quoted(20 + octets)[20..].to_vec();
        Packet::raw(6, &bytes).ip(DIP, CLIENT).ethernet(&[])
    };
    for (row, frame) in [
        ("not of an instance", data(10_443, 9, b"odd").ip("10.0.0.99", CLIENT).ethernet(&[])),
        ("no service's port", data(22, 9, b"odd").ip(DIP, CLIENT).ethernet(&[])),
        ("the service's own port", data(443, 9, b"odd").ip(DIP, CLIENT).ethernet(&[])),
        ("a port of the other family", data(10_444, 9, b"odd").ip(DIP6, CLIENT6).ethernet(&[])),
        ("for another host", data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet_to([2, 0, 0, 0, 0, 9], &[])),
        ("an echo reply", echo.ip(DIP, CLIENT).ethernet(&[])),
        (
            "an error about no service",
            error(&syn(9, 22).ip(CLIENT, DIP).quoted(28)).ip(DIP, CLIENT).ethernet(&[]),
        ),
        (
            "an error about another host's packet",
            error(&syn(9, 10_443).ip(CLIENT, "10.0.0.99").quoted(28)).ip(DIP, CLIENT).ethernet(&[]),
        ),
        ("no hops left: the kernel says so", last_hop(data(10_443, 9, b"odd"))),
        ("half a TCP header", cut(12)),
        ("ESP", Packet::raw(50, &[0x28; 24]).ip(DIP, CLIENT).ethernet(&[])),
    ] {
        let outcome = run(&mut kernel, row, &frame);
        assert_eq!(outcome, Outcome { action: Action::Pass, frame }, "{row}");
    }
    assert!(kernel.counters().dropped.is_empty());
}

#[test]
fn r14_a_reply_from_outside_and_one_in_another_mode_pass_untouched() {
    let frame = data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet(&[]);
    let mut outside = desired(nat_model());
    outside.interfaces[0].side = Side::Outside;
    let mut l2 = nat_model();
    l2.balancer.forwarding = Forwarding::L2;
    for (row, desired) in [("from outside", outside), ("l2", desired(l2))] {
        let outcome = run(&mut Kernel::new(&desired), row, &frame);
        assert_eq!(outcome, Outcome { action: Action::Pass, frame: frame.clone() }, "{row}");
    }
}

#[test]
fn drops_in_nat_mode() {
    let mut kernel = kernel(&desired(nat_model()));
    let fragment = |field: u16| {
        let [a, b] = field.to_be_bytes();
        data(10_443, 9, b"odd").extension(IpProto::Ipv6Frag, &[0, a, b, 0, 0, 0, 1])
    };
    for (row, frame, counted) in [
        ("1501 octets", data(9, 443, &[7; 1461]).ip(CLIENT, VIP).ethernet(&[]), ("10.0.0.5:443", "too-big")),
        (
            "a reply's first fragment",
            data(10_443, 9, b"odd").ip_with(DIP, CLIENT, &[], 0x2000).ethernet(&[]),
            ("(no VIP)", "nat-fragment"),
        ),
        (
            "a reply's later fragment",
            data(10_443, 9, b"odd").ip_with(DIP, CLIENT, &[], 0x0001).ethernet(&[]),
            ("(no VIP)", "nat-fragment"),
        ),
        ("the same over IPv6", fragment(8).ip(DIP6, CLIENT6).ethernet(&[]), ("(no VIP)", "nat-fragment")),
        (
            "a kilobyte of extension headers",
            syn(9, 443)
                .extension(IpProto::Ipv6Opts, &[&[127][..], &[0; 1022]].concat())
                .ip(CLIENT6, VIP6)
                .ethernet(&[]),
            ("fd00:0:0:1::5", "extension-depth"),
        ),
    ] {
        let before = kernel.counters().dropped;
        let outcome = run(&mut kernel, row, &frame);
        assert_eq!(outcome, Outcome { action: Action::Drop, frame }, "{row}");
        let (scope, reason) = counted;
        let key = (scope.to_owned(), reason);
        let count = |counts: &BTreeMap<_, u64>| counts.get(&key).copied().unwrap_or_default();
        assert_eq!(count(&kernel.counters().dropped), count(&before) + 1, "{row}");
    }
}

#[test]
fn a_request_without_hops_left_is_dropped_and_its_sender_told() {
    let mut kernel = kernel(&desired(nat_model()));
    let packet = syn(9, 443).ipv6(CLIENT6.parse().unwrap(), VIP6.parse().unwrap(), 1);
    let asked = packet.clone().quoted(usize::MAX);
    let outcome = run(&mut kernel, "no hops left", &packet.ethernet(&[]));
    assert_eq!(outcome.action, Action::Transmit);
    // Ethernet, IPv6 and ICMPv6 headers, then the packet as its sender knows it.
    assert_eq!(outcome.frame[14 + 40], 3, "time exceeded");
    assert_eq!(outcome.frame[14 + 40 + 8..], asked);
    let key = ("[fd00:0:0:1::5]:443".to_owned(), "hop-limit");
    assert_eq!(kernel.counters().dropped, BTreeMap::from([(key, 1)]));
}

#[test]
fn vlan_tags_stay_and_a_tagged_reply_is_the_kernels_to_route() {
    let mut kernel = kernel(&desired(nat_model()));
    let tags = &[(DOT1Q, 7)];
    let tagged = |packet: Packet, to: [u8; 6]| {
        let mut frame = forwarded(&aged(packet.ethernet(&[])), to);
        frame.splice(12..12, [0x81, 0, 0, 7]);
        frame
    };
    let outcome = run(&mut kernel, "request", &data(9, 443, b"odd").ip(CLIENT, VIP).ethernet(tags));
    let expected = tagged(data(9, 10_443, b"odd").ip(CLIENT, DIP), mac(1));
    assert_eq!(outcome, Outcome { action: Action::Transmit, frame: expected });

    let reply = data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet(tags);
    let mut tables = host(&kernel.plan);
    route(&mut tables, CLIENT, ROUTE);
    let (verdict, outcome) = run_on_host(&tables, &reply);
    assert_eq!(verdict, Verdict::Deliver);
    assert_eq!(outcome.frame, data(443, 9, b"odd").ip(VIP, CLIENT).ethernet(tags));
}

/// To the MAC of the second instance, out of the only interface.
const ROUTE: Route = Route::Link { interface: 1, macs: macs() };

const fn macs() -> Macs {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (mac(2), OURS);
    Macs {
        a: u32::from_ne_bytes([a, b, c, d]),
        b: u32::from_ne_bytes([e, f, g, h]),
        c: u32::from_ne_bytes([i, j, k, l]),
    }
}

fn route(tables: &mut HostTables, to: &str, route: Route) {
    tables.routes.insert(Address::from(to.parse::<std::net::IpAddr>().unwrap()), route);
}

#[test]
fn a_reply_leaves_by_the_kernels_route_if_that_is_one_of_our_interfaces() {
    let mut wish = desired(nat_model());
    wish.interfaces.push(Interface { index: 2, mac: OURS, side: Side::Outside });
    let kernel = kernel(&wish);
    let frame = data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet(&[]);
    let with_vip = data(443, 9, b"odd").ip(VIP, CLIENT).ethernet(&[]);
    let sent = forwarded(&aged(with_vip.clone()), mac(2));
    let by = |interface| Route::Link { interface, macs: macs() };
    for (way, verdict, expected) in [
        (by(1), Verdict::Transmit, &sent),
        (by(2), Verdict::Redirect(1), &sent),
        (by(3), Verdict::Deliver, &with_vip),
        (Route::Here, Verdict::Pass, &frame),
        // It may be cut, which the kernel does.
        (Route::TooBig, Verdict::Deliver, &with_vip),
    ] {
        let mut tables = host(&kernel.plan);
        tables.interface = 1;
        route(&mut tables, CLIENT, way);
        let (got, outcome) = run_on_host(&tables, &frame);
        assert_eq!((got, &outcome.frame), (verdict, expected), "{way:?}");
    }
    // It must not be cut: the kernel tells the instance, which knows the packet only as it is.
    let mut tables = host(&kernel.plan);
    tables.interface = 1;
    route(&mut tables, CLIENT, Route::TooBig);
    let frame = data(10_443, 9, b"odd").ip_with(DIP, CLIENT, &[], 0x4000).ethernet(&[]);
    let (verdict, outcome) = run_on_host(&tables, &frame);
    assert_eq!((verdict, &outcome.frame), (Verdict::Pass, &frame));
}

#[test]
fn a_reply_leaves_by_a_route_and_a_neighbour_of_the_kernel() {
    let balancer = Host::new("nat").unwrap();
    balancer
        .ip([
            "link add out type veth peer name client",
            "link set out address 02:00:00:00:00:01 mtu 1400 up",
            "link set client up",
            "addr add 10.0.7.1/24 dev out",
            "addr add fd00:0:0:1::1/64 dev out nodad",
            "neigh replace 10.0.7.7 lladdr 02:00:00:00:01:02 dev out nud permanent",
            "neigh replace fd00:0:0:1::99 lladdr 02:00:00:00:01:02 dev out nud permanent",
        ])
        .unwrap();
    balancer.sysctl("net/ipv4/ip_forward", "1").unwrap();
    balancer.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    balancer.enter(|| {
        let index = nix::net::if_::if_nametoindex("out").unwrap();
        let mut wish = desired(nat_model());
        wish.interfaces.push(Interface { index, mac: OURS, side: Side::Outside });
        let mut kernel = kernel(&wish);
        let big = [7; 1361];
        for (row, frame, action, expected) in [
            (
                "known",
                data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet(&[]),
                Action::Redirect,
                forwarded(&aged(data(443, 9, b"odd").ip(VIP, CLIENT).ethernet(&[])), mac(2)),
            ),
            (
                "IPv6",
                data(10_443, 9, b"odd").ip(DIP6, CLIENT6).ethernet(&[]),
                Action::Redirect,
                forwarded(&aged(data(443, 9, b"odd").ip(VIP6, CLIENT6).ethernet(&[])), mac(2)),
            ),
            (
                "no neighbour yet",
                data(10_443, 9, b"odd").ip(DIP, "10.0.7.8").ethernet(&[]),
                Action::Pass,
                data(443, 9, b"odd").ip(VIP, "10.0.7.8").ethernet(&[]),
            ),
            (
                "no route",
                data(10_443, 9, b"odd").ip(DIP, OUTSIDE).ethernet(&[]),
                Action::Pass,
                data(10_443, 9, b"odd").ip(DIP, OUTSIDE).ethernet(&[]),
            ),
            (
                "the balancer's own connection",
                data(10_443, 9, b"odd").ip(DIP, "10.0.7.1").ethernet(&[]),
                Action::Pass,
                data(10_443, 9, b"odd").ip(DIP, "10.0.7.1").ethernet(&[]),
            ),
            (
                "the balancer's own connection over IPv6",
                data(10_443, 9, b"odd").ip(DIP6, "fd00:0:0:1::1").ethernet(&[]),
                Action::Pass,
                data(10_443, 9, b"odd").ip(DIP6, "fd00:0:0:1::1").ethernet(&[]),
            ),
            (
                "1401 octets, not to be cut",
                data(10_443, 9, &big).ip_with(DIP, CLIENT, &[], 0x4000).ethernet(&[]),
                Action::Pass,
                data(10_443, 9, &big).ip_with(DIP, CLIENT, &[], 0x4000).ethernet(&[]),
            ),
        ] {
            assert_eq!(kernel.run(&frame), Outcome { action, frame: expected }, "{row}");
        }
    });
}

#[test]
fn r12_a_drained_instances_replies_keep_their_vip() {
    let mut wish = desired(nat_model());
    let mut kernel = Kernel::new(&wish);
    let mut none = nat_model();
    none.instances.clear();
    wish.model = Arc::new(none);
    kernel.step(&wish);
    let frame = data(10_443, 9, b"odd").ip(DIP, CLIENT).ethernet(&[]);
    assert_eq!(kernel.run(&frame).frame, data(443, 9, b"odd").ip(VIP, CLIENT).ethernet(&[]));
    wish.ended.insert(super::targets::name("gw-1"));
    kernel.step(&wish);
    assert_eq!(kernel.run(&frame).frame, frame);
}

/// What comes out is what a full computation gives, there and back, whatever the packet holds.
#[test]
fn ten_thousand_random_packets_keep_right_checksums_there_and_back() {
    let kernel = kernel(&desired(nat_model()));
    let mut tables = host(&kernel.plan);
    route(&mut tables, CLIENT, ROUTE);
    route(&mut tables, CLIENT6, ROUTE);
    let mut random = TestRng::from_seed(RngAlgorithm::XorShift, &[0x5a; 16]);
    let mut zeros = 0;
    for n in 0..10_000 {
        let mut bytes = vec![0; (random.next_u32() % 90) as usize];
        random.fill_bytes(&mut bytes);
        let client_port = random.next_u32() as u16;
        let (port, backend_port) = [(443, 10_443), (80, 10_080), (3443, 13_443)][n % 3];
        let is_udp = random.next_u32().is_multiple_of(2);
        let (client, vip, dip) = if n % 2 == 0 { (CLIENT, VIP, DIP) } else { (CLIENT6, VIP6, DIP6) };
        // Data that makes the UDP checksum zero, which is sent as its other form.
        if is_udp && n % 5 == 0 {
            bytes.resize(8, 0);
            bytes[6..8].fill(0);
            let frame = Packet::udp(client_port, backend_port, &bytes).ip(client, dip).ethernet(&[]);
            let at = frame.len() - 8 - 2;
            let sum = [frame[at], frame[at + 1]];
            bytes[6..8].copy_from_slice(&sum);
            zeros += 1;
        }
        let between = |from, to| match is_udp {
            true => Packet::udp(from, to, &bytes),
            false => data(from, to, &bytes),
        };
        let request = between(client_port, port).ip(client, vip).ethernet(&[]);
        let (verdict, there) = run_on_host(&tables, &request);
        let expected = between(client_port, backend_port).ip(client, dip).ethernet(&[]);
        assert_eq!((verdict, there.frame), (Verdict::Transmit, forwarded(&aged(expected), mac(1))), "{n}");

        let reply = between(backend_port, client_port).ip(dip, client).ethernet(&[]);
        let (verdict, back) = run_on_host(&tables, &reply);
        let expected = between(port, client_port).ip(vip, client).ethernet(&[]);
        assert_eq!((verdict, back.frame), (Verdict::Transmit, forwarded(&aged(expected), mac(2))), "{n}");
    }
    assert!(zeros > 500, "{zeros}");
}
