//! Single packets through the loaded program: frame in, verdict, frame out, counters. And the same on the host.

use super::{
    builder::{ACK, Packet, RST, SYN, forwarded},
    targets::{Action, Counted, Kernel, Outcome, desired, host, mac, model, name, run_on_host},
};
use network_types::ip::IpProto;

const PRIVATE: &str = "10.0.0.5";
const PRIVATE6: &str = "fd00:0:0:1::5";
const PUBLIC: &str = "203.0.113.5";
const INSIDE: &str = "10.0.7.7";
const INSIDE6: &str = "fd00:0:0:1::99";
const OUTSIDE: &str = "198.51.100.7";
const DOT1Q: u16 = 0x8100;
const DOT1AD: u16 = 0x88a8;

/// What has to become of a frame.
enum Expected {
    /// To one of the instances, with its MAC and ours, counted for this service.
    Forward(&'static str),
    /// Unchanged, not counted.
    Pass,
    /// Counted for this VIP or service under this reason.
    Drop(&'static str, &'static str),
}
use Expected::{Drop, Forward, Pass};

/// Runs every row in the kernel and on the host, each in fresh counters.
fn table(rows: Vec<(&str, Vec<u8>, Expected)>) {
    let mut kernel = Kernel::new(&desired(model()));
    let mut before = kernel.counters();
    for (row, frame, expected) in rows {
        let tables = host(&kernel.plan);
        let outcome = kernel.run(&frame);
        let (_, on_host) = run_on_host(&tables, &frame);
        assert_eq!(outcome, on_host, "{row}: kernel and host");
        let counted = before.difference(&kernel.counters());
        before = kernel.counters();
        assert_eq!(counted, Counted::of_host(&tables, &kernel.plan), "{row}: counters of kernel and host");
        check(row, &frame, &expected, &outcome, &counted);
    }
}

fn check(row: &str, frame: &[u8], expected: &Expected, outcome: &Outcome, counted: &Counted) {
    match expected {
        Pass => {
            assert_eq!((outcome.action, outcome.frame.as_slice()), (Action::Pass, frame), "{row}");
            assert_eq!(*counted, Counted::default(), "{row}");
        }
        Drop(scope, reason) => {
            assert_eq!(
                (outcome.action, outcome.frame.as_slice()),
                (Action::Drop, frame),
                "{row}: {counted:?}"
            );
            let dropped = [((scope.to_string(), *reason), 1)].into();
            assert_eq!(*counted, Counted { dropped, ..Counted::default() }, "{row}");
        }
        Forward(service) => {
            assert_eq!(outcome.action, Action::Transmit, "{row}: {counted:?}");
            let to = [(1, "gw-1"), (2, "gw-2")]
                .into_iter()
                .find(|&(n, _)| outcome.frame == forwarded(frame, mac(n)));
            let (_, instance) = to.unwrap_or_else(|| panic!("{row}: {:02x?}", outcome.frame));
            let syn = frame.len() >= 48 && counted.forwarded[*service].2 == 1;
            let traffic = (1, frame.len() as u64, u64::from(syn));
            let forwarded = [(service.to_string(), traffic), (instance.to_owned(), traffic)].into();
            assert_eq!(*counted, Counted { forwarded, ..Counted::default() }, "{row}");
        }
    }
}

fn syn(port: u16) -> Packet {
    Packet::tcp(50_000, port, SYN, 1)
}

#[test]
fn r13_the_private_vip_serves_its_ports_and_nothing_else() {
    table(vec![
        ("443", syn(443).ip(INSIDE, PRIVATE).ethernet(&[]), Forward("10.0.0.5:443")),
        ("80", syn(80).ip(INSIDE, PRIVATE).ethernet(&[]), Forward("10.0.0.5:80")),
        ("3443", syn(3443).ip(INSIDE, PRIVATE).ethernet(&[]), Forward("10.0.0.5:3443")),
        (
            "data",
            Packet::tcp(9, 443, ACK, 7).data(b"hello").ip(INSIDE, PRIVATE).ethernet(&[]),
            Forward("10.0.0.5:443"),
        ),
        ("v6 443", syn(443).ip(INSIDE6, PRIVATE6).ethernet(&[]), Forward("[fd00:0:0:1::5]:443")),
        ("v6 3443", syn(3443).ip(INSIDE6, PRIVATE6).ethernet(&[]), Forward("[fd00:0:0:1::5]:3443")),
        ("closed", syn(22).ip(INSIDE, PRIVATE).ethernet(&[]), Drop(PRIVATE, "no-service")),
        ("UDP 443", Packet::udp(9, 443, b"x").ip(INSIDE, PRIVATE).ethernet(&[]), Drop(PRIVATE, "no-service")),
        ("v6 closed", syn(8080).ip(INSIDE6, PRIVATE6).ethernet(&[]), Drop(PRIVATE6, "no-service")),
    ]);
}

#[test]
fn r14_the_private_vip_is_answered_only_from_inside() {
    table(vec![
        ("outside", syn(443).ip(OUTSIDE, PRIVATE).ethernet(&[]), Drop(PRIVATE, "source")),
        ("outside, closed port", syn(22).ip(OUTSIDE, PRIVATE).ethernet(&[]), Drop(PRIVATE, "source")),
        ("last inside", syn(443).ip("10.0.255.255", PRIVATE).ethernet(&[]), Forward("10.0.0.5:443")),
        ("first outside", syn(443).ip("10.1.0.0", PRIVATE).ethernet(&[]), Drop(PRIVATE, "source")),
        ("peered", syn(443).ip("10.8.0.1", PRIVATE).ethernet(&[]), Forward("10.0.0.5:443")),
        ("v6 outside", syn(443).ip("2001:db8::7", PRIVATE6).ethernet(&[]), Drop(PRIVATE6, "source")),
        ("v6 next subnet", syn(443).ip("fd00:0:0:2::7", PRIVATE6).ethernet(&[]), Drop(PRIVATE6, "source")),
        // An IPv6 source that looks like an IPv4 address from inside.
        ("v4-mapped", syn(443).ip("::ffff:10.0.7.7", PRIVATE6).ethernet(&[]), Drop(PRIVATE6, "source")),
        (
            "multicast",
            syn(443).ip("ffff:ffff:ffff:ffff::a00:707", PRIVATE6).ethernet(&[]),
            Drop(PRIVATE6, "bad-header"),
        ),
    ]);
}

#[test]
fn r20_the_public_vip_drops_everything_but_tcp_3443() {
    let mut rows = vec![
        ("3443", syn(3443).ip(OUTSIDE, PUBLIC).ethernet(&[]), Forward("203.0.113.5:3443")),
        ("a stranger", syn(3443).ip("192.0.2.1", PUBLIC).ethernet(&[]), Drop("203.0.113.5:3443", "source")),
        (
            "UDP 3443",
            Packet::udp(9, 3443, b"x").ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "no-service"),
        ),
        ("SCTP", Packet::raw(132, &[0; 20]).ip(OUTSIDE, PUBLIC).ethernet(&[]), Drop(PUBLIC, "protocol")),
        ("unknown", Packet::raw(253, &[0; 20]).ip(OUTSIDE, PUBLIC).ethernet(&[]), Drop(PUBLIC, "protocol")),
        ("empty", Packet::raw(253, &[]).ip(OUTSIDE, PUBLIC).ethernet(&[]), Drop(PUBLIC, "protocol")),
        (
            "IP in IP",
            syn(3443).ip(OUTSIDE, PUBLIC).quoted(99).into_ipip().ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "protocol"),
        ),
        (
            "ping",
            Packet::icmp(IpProto::Icmp, 8, 0, b"x").ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "icmp-echo"),
        ),
        (
            "ICMPv6 over IPv4",
            Packet::raw(58, &[128; 8]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "protocol"),
        ),
        (
            "redirect",
            Packet::icmp(IpProto::Icmp, 5, 1, &[0; 28]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "icmp-type"),
        ),
        (
            "SYN-ACK",
            Packet::tcp(443, 50_000, SYN | ACK, 1).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "no-service"),
        ),
    ];
    for port in [0, 1, 22, 80, 443, 3442, 3444, 8080, 65_535] {
        rows.push(("closed", syn(port).ip(OUTSIDE, PUBLIC).ethernet(&[]), Drop(PUBLIC, "no-service")));
    }
    table(rows);
}

/// IP in IP, to see that nothing unpacks it.
trait IntoIpip {
    fn into_ipip(self) -> Packet;
}

impl IntoIpip for Vec<u8> {
    fn into_ipip(self) -> Packet {
        Packet::raw(4, &self)
    }
}

#[test]
fn r22_icmp_errors_follow_their_flow_and_others_are_dropped() {
    let reply = |port| Packet::tcp(port, 50_000, ACK, 1).ip(PUBLIC, OUTSIDE).quoted(28);
    let error =
        |quote: Vec<u8>| Packet::icmp(IpProto::Icmp, 3, 4, &quote).ip("192.0.2.9", PUBLIC).ethernet(&[]);
    let with_options =
        Packet::tcp(3443, 50_000, ACK, 1).ip_with(PUBLIC, OUTSIDE, &[1, 1, 1, 0], 0).quoted(32);
    let reply_with_options =
        |octets| Packet::tcp(3443, 50_000, ACK, 1).ip_with(PUBLIC, OUTSIDE, &[1; 40], 0).quoted(octets);
    let extended = |octets| {
        let packet = Packet::tcp(443, 50_000, ACK, 1).extension(IpProto::Ipv6Frag, &[0, 0, 0, 0, 0, 0, 1]);
        let packet = packet.extension(IpProto::HopOpt, &[0, 5, 2, 0, 0, 1, 0]);
        packet.ip(PRIVATE6, INSIDE6).quoted(octets)
    };
    let reply6 = |vip| Packet::tcp(443, 50_000, ACK, 1).ip(vip, INSIDE6).quoted(48);
    let too_big =
        |quote: Vec<u8>| Packet::icmp(IpProto::Ipv6Icmp, 2, 0, &quote).ip(INSIDE6, PRIVATE6).ethernet(&[]);
    let stranger = Packet::tcp(3443, 50_000, ACK, 1).ip(PUBLIC, "192.0.2.1").quoted(28);
    table(vec![
        ("our flow, from any router", error(reply(3443)), Forward("203.0.113.5:3443")),
        ("quoted options", error(with_options), Forward("203.0.113.5:3443")),
        ("a port that is not served", error(reply(443)), Drop(PUBLIC, "icmp-quote")),
        ("a client that may not", error(stranger), Drop("203.0.113.5:3443", "source")),
        (
            "not our packet",
            error(Packet::tcp(3443, 9, ACK, 1).ip(OUTSIDE, PUBLIC).quoted(28)),
            Drop(PUBLIC, "icmp-quote"),
        ),
        (
            "quoted ICMP",
            error(Packet::icmp(IpProto::Icmp, 0, 0, &[]).ip(PUBLIC, OUTSIDE).quoted(28)),
            Drop(PUBLIC, "icmp-quote"),
        ),
        (
            "quoted later fragment",
            error(Packet::tcp(3443, 50_000, ACK, 1).ip_with(PUBLIC, OUTSIDE, &[], 3).quoted(28)),
            Drop(PUBLIC, "icmp-quote"),
        ),
        ("quote cut short", error(reply(3443)[..20].to_vec()), Drop(PUBLIC, "icmp-quote")),
        ("no quote", error(vec![]), Drop(PUBLIC, "truncated")),
        (
            "private VIP, from a router outside, about a client inside",
            Packet::icmp(
                IpProto::Icmp,
                3,
                4,
                &Packet::tcp(443, 50_000, ACK, 1).ip(PRIVATE, INSIDE).quoted(28),
            )
            .ip("198.51.100.1", PRIVATE)
            .ethernet(&[]),
            Forward("10.0.0.5:443"),
        ),
        (
            "private VIP, about a client outside",
            Packet::icmp(
                IpProto::Icmp,
                3,
                4,
                &Packet::tcp(443, 50_000, ACK, 1).ip(PRIVATE, OUTSIDE).quoted(28),
            )
            .ip(INSIDE, PRIVATE)
            .ethernet(&[]),
            Drop(PRIVATE, "source"),
        ),
        ("too big", too_big(reply6(PRIVATE6)), Forward("[fd00:0:0:1::5]:443")),
        (
            "tagged",
            Packet::icmp(IpProto::Icmp, 3, 4, &reply(3443)).ip("192.0.2.9", PUBLIC).ethernet(&[(DOT1Q, 7)]),
            Forward("203.0.113.5:3443"),
        ),
        ("quoted options that are cut", error(reply_with_options(47)), Drop(PUBLIC, "icmp-quote")),
        ("eight bytes behind quoted options", error(reply_with_options(68)), Forward("203.0.113.5:3443")),
        ("quoted extension headers", too_big(extended(64)), Forward("[fd00:0:0:1::5]:443")),
        ("quoted extension headers, cut", too_big(extended(58)), Drop(PRIVATE6, "icmp-quote")),
        ("too big, stray", too_big(reply6("fd00:0:0:1::6")), Drop(PRIVATE6, "icmp-quote")),
    ]);
}

#[test]
fn r22_an_icmp_error_reaches_the_instance_that_has_the_flow() {
    let mut kernel = Kernel::new(&desired(model()));
    for port in 40_000..40_200 {
        let data = kernel.run(&Packet::tcp(port, 3443, ACK, 1).ip(OUTSIDE, PUBLIC).ethernet(&[]));
        let quote = Packet::tcp(3443, port, ACK, 1).ip(PUBLIC, OUTSIDE).quoted(28);
        let error =
            kernel.run(&Packet::icmp(IpProto::Icmp, 3, 4, &quote).ip("192.0.2.9", PUBLIC).ethernet(&[]));
        assert_eq!(data.frame[..6], error.frame[..6], "port {port}");
    }
}

#[test]
fn r23_nothing_gets_past_by_its_looks() {
    let options = |port| syn(port).ip_with(OUTSIDE, PUBLIC, &[7, 7, 4, 0, 0, 0, 0, 0], 0);
    let broken = |at: usize, byte: u8| {
        let mut frame = syn(3443).ip(OUTSIDE, PUBLIC).ethernet(&[]);
        frame[at] = byte;
        frame
    };
    let fragment = |bits| syn(3443).ip_with(OUTSIDE, PUBLIC, &[], bits).ethernet(&[]);
    let mut multicast = syn(3443).ip(OUTSIDE, PUBLIC).ethernet(&[]);
    multicast[..6].copy_from_slice(&[0xff; 6]);
    table(vec![
        ("VLAN, open", syn(3443).ip(OUTSIDE, PUBLIC).ethernet(&[(DOT1Q, 7)]), Forward("203.0.113.5:3443")),
        ("VLAN, closed", syn(443).ip(OUTSIDE, PUBLIC).ethernet(&[(DOT1Q, 7)]), Drop(PUBLIC, "no-service")),
        (
            "QinQ, open",
            syn(3443).ip(OUTSIDE, PUBLIC).ethernet(&[(DOT1AD, 7), (DOT1Q, 8)]),
            Forward("203.0.113.5:3443"),
        ),
        (
            "QinQ, closed",
            syn(443).ip(OUTSIDE, PUBLIC).ethernet(&[(DOT1AD, 7), (DOT1Q, 8)]),
            Drop(PUBLIC, "no-service"),
        ),
        (
            "three tags",
            syn(443).ip(OUTSIDE, PUBLIC).ethernet(&[(DOT1AD, 7), (DOT1Q, 8), (DOT1Q, 9)]),
            Drop("(no VIP)", "vlan-depth"),
        ),
        (
            "v6, VLAN, closed",
            syn(1).ip(INSIDE6, PRIVATE6).ethernet(&[(DOT1Q, 7)]),
            Drop(PRIVATE6, "no-service"),
        ),
        ("options, open", options(3443).ethernet(&[]), Forward("203.0.113.5:3443")),
        ("options, closed", options(443).ethernet(&[]), Drop(PUBLIC, "no-service")),
        ("broadcast frame", multicast, Drop(PUBLIC, "link-multicast")),
        ("header of four words", broken(14, 0x44), Drop(PUBLIC, "bad-header")),
        ("header longer than the packet", broken(14, 0x4f), Drop(PUBLIC, "bad-length")),
        ("longer than the frame", broken(16, 0xff), Drop(PUBLIC, "bad-length")),
        ("shorter than its header", broken(17, 19), Drop(PUBLIC, "bad-length")),
        ("TCP header of four words", broken(46, 0x40), Drop(PUBLIC, "bad-header")),
        ("TCP header past the end", broken(46, 0x60), Drop(PUBLIC, "bad-length")),
        ("first fragment", fragment(0x2000), Drop(PUBLIC, "fragment")),
        ("later fragment", fragment(0x2001), Drop(PUBLIC, "fragment")),
        ("last fragment", fragment(0x0001), Drop(PUBLIC, "fragment")),
        ("don't fragment", fragment(0x4000), Forward("203.0.113.5:3443")),
        (
            "half a TCP header",
            Packet::raw(6, &[0x0d; 12]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "truncated"),
        ),
        (
            "half a UDP header",
            Packet::raw(17, &[0; 4]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "truncated"),
        ),
        (
            "half an ICMP header",
            Packet::raw(1, &[8; 4]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "bad-length"),
        ),
        (
            "UDP length beyond",
            Packet::raw(17, &[0, 9, 13, 115, 0, 99, 0, 0]).ip(OUTSIDE, PUBLIC).ethernet(&[]),
            Drop(PUBLIC, "bad-length"),
        ),
    ]);
}

#[test]
fn r23_ipv6_extension_headers_are_looked_through() {
    let hop = |packet: Packet| packet.extension(IpProto::HopOpt, &[0, 5, 2, 0, 0, 1, 0]);
    let destination = |packet: Packet| packet.extension(IpProto::Ipv6Opts, &[0, 1, 4, 0, 0, 0, 0]);
    let routing = |packet: Packet, left| packet.extension(IpProto::Ipv6Route, &[0, 0, left, 0, 0, 0, 0]);
    let fragment = |packet: Packet, field: u16| {
        let [a, b] = field.to_be_bytes();
        packet.extension(IpProto::Ipv6Frag, &[0, a, b, 0, 0, 0, 1])
    };
    let ah = |packet: Packet| packet.extension(IpProto::Ah, &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let send = |packet: Packet| packet.ip(INSIDE6, PRIVATE6).ethernet(&[]);
    let four = destination(routing(destination(hop(syn(443))), 0));
    table(vec![
        ("hop by hop", send(hop(syn(443))), Forward("[fd00:0:0:1::5]:443")),
        ("hop by hop, closed", send(hop(syn(22))), Drop(PRIVATE6, "no-service")),
        ("four", send(four.clone()), Forward("[fd00:0:0:1::5]:443")),
        ("five", send(hop(four)), Drop(PRIVATE6, "extension-depth")),
        ("authentication", send(ah(syn(443))), Forward("[fd00:0:0:1::5]:443")),
        ("routing, left", send(routing(syn(443), 1)), Drop(PRIVATE6, "routing-header")),
        ("atomic fragment", send(fragment(syn(443), 0)), Forward("[fd00:0:0:1::5]:443")),
        ("later fragment", send(fragment(syn(443), 16)), Drop(PRIVATE6, "fragment-early")),
        ("first fragment", send(fragment(syn(443).data(&[0; 4]), 1)), Forward("[fd00:0:0:1::5]:443")),
        (
            "fragment of a fragment",
            send(fragment(fragment(syn(443).data(&[0; 4]), 1), 1)),
            Drop(PRIVATE6, "bad-header"),
        ),
        ("cut in an extension", send(Packet::raw(0, &[6, 0])), Drop(PRIVATE6, "truncated")),
        (
            "extension past the end",
            send(Packet::raw(0, &[6, 9, 0, 0, 0, 0, 0, 0])),
            Drop(PRIVATE6, "truncated"),
        ),
        ("ESP", send(Packet::raw(50, &[0; 16])), Drop(PRIVATE6, "protocol")),
        ("no next header", send(Packet::raw(59, &[])), Drop(PRIVATE6, "protocol")),
        ("ICMP over IPv6", send(Packet::raw(1, &[8; 8])), Drop(PRIVATE6, "protocol")),
    ]);
}

#[test]
fn r24_what_is_not_for_a_vip_passes_untouched() {
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 0x99, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend([0; 20]);
    let solicitation = |hops| {
        let target: Vec<u8> = PRIVATE6.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        let packet = Packet::icmp(IpProto::Ipv6Icmp, 135, 0, &target);
        packet.ipv6("fe80::99".parse().unwrap(), PRIVATE6.parse().unwrap(), hops).ethernet(&[])
    };
    table(vec![
        ("ssh to the host", syn(22).ip(INSIDE, "10.0.0.2").ethernet(&[]), Pass),
        ("routed traffic", syn(443).ip(INSIDE, "192.0.2.1").ethernet(&[]), Pass),
        ("v6 to the host", syn(22).ip(INSIDE6, "fd00:0:0:1::2").ethernet(&[]), Pass),
        ("a mapped VIP in IPv6", syn(443).ip(INSIDE6, "::ffff:10.0.0.5").ethernet(&[]), Pass),
        (
            "an IPv6 destination in the form of an IPv4 VIP",
            syn(443).ip(INSIDE6, "ffff:ffff:ffff:ffff::a00:5").ethernet(&[]),
            Pass,
        ),
        ("to the unspecified address", syn(443).ip(INSIDE6, "::").ethernet(&[]), Pass),
        ("ARP", arp, Pass),
        ("LLDP", [&[1, 0x80, 0xc2, 0, 0, 0xe, 2, 0, 0, 0, 0, 9, 0x88, 0xcc][..], &[0; 46]].concat(), Pass),
        ("a bare Ethernet header", vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0], Pass),
        ("a fragment for another", syn(22).ip_with(INSIDE, "10.0.0.2", &[], 0x2001).ethernet(&[]), Pass),
        (
            "a VIP's frame for another host",
            syn(443).ip(INSIDE, PRIVATE).ethernet_to([2, 0, 0, 0, 0, 0x77], &[]),
            Drop(PRIVATE, "other-host"),
        ),
        ("neighbour solicitation for a VIP", solicitation(255), Pass),
        ("a forged one from afar", solicitation(64), Drop(PRIVATE6, "icmp-type")),
    ]);
}

#[test]
fn r11_shares_follow_weights_and_every_packet_of_a_flow_reaches_one_instance() {
    let mut kernel = Kernel::new(&desired(model()));
    let mut to_first = 0;
    let flows = 10_000;
    for flow in 0..flows {
        let source = format!("10.0.{}.{}", 1 + flow / 250, 1 + flow % 250);
        let port = 1024 + (flow * 7919 % 60_000) as u16;
        let opening = kernel.run(&Packet::tcp(port, 443, SYN, 5).ip(&source, PRIVATE).ethernet(&[]));
        let later =
            kernel.run(&Packet::tcp(port, 443, ACK, 6).data(b"data").ip(&source, PRIVATE).ethernet(&[]));
        let last = kernel.run(&Packet::tcp(port, 443, RST, 7).ip(&source, PRIVATE).ethernet(&[]));
        assert_eq!([&later.frame[..12], &last.frame[..12]], [&opening.frame[..12]; 2]);
        to_first += i32::from(opening.frame[..6] == mac(1));
    }
    let share = f64::from(to_first) / f64::from(flows) * 100.0;
    assert!((share - 100.0 / 1.5).abs() < 5.0, "gw-1 has weight 100 of 150 and got {share:.1} %");
}

/// Where each of some flows is, told by a data segment.
fn places(kernel: &mut Kernel, ports: std::ops::Range<u16>) -> Vec<[u8; 6]> {
    ports
        .map(|port| {
            let out = kernel.run(&Packet::tcp(port, 443, ACK, 1001).ip(INSIDE, PRIVATE).ethernet(&[]));
            out.frame[..6].try_into().unwrap()
        })
        .collect()
}

#[test]
fn r12_established_flows_stay_when_instances_come_go_and_come_back() {
    let full = model();
    let mut alone = full.clone();
    alone.instances.truncate(1);
    let mut wish = desired(full.clone());
    let mut kernel = Kernel::new(&wish);
    let old = 10_000..10_500;
    let began = places(&mut kernel, old.clone());

    wish.model = alone.into();
    kernel.step(&wish);
    assert_eq!(places(&mut kernel, old.clone()), began, "gw-2 is drained, not cut");

    // New flows go to gw-1 alone, and are noted where the bucket moved.
    let new = 20_000..20_500;
    for port in new.clone() {
        let out = kernel.run(&Packet::tcp(port, 443, SYN, 1000).ip(INSIDE, PRIVATE).ethernet(&[]));
        assert_eq!(out.frame[..6], mac(1), "a new flow, port {port}");
    }
    let noted = places(&mut kernel, new.clone());
    assert!(noted.iter().all(|&to| to == mac(1)));

    // gw-2 returns: the buckets come back to their first owner, and there are notes to honour.
    wish.model = full.into();
    kernel.step(&wish);
    assert_eq!(places(&mut kernel, old.clone()), began);
    assert_eq!(places(&mut kernel, new.clone()), noted);

    // One forged SYN at each living flow changes nothing.
    for port in old.clone().chain(new.clone()) {
        kernel.run(&Packet::tcp(port, 443, SYN, 0x7000_0000).ip(INSIDE, PRIVATE).ethernet(&[]));
    }
    assert_eq!(places(&mut kernel, old), began);
    assert_eq!(places(&mut kernel, new), noted);
}

#[test]
fn r83_the_end_of_a_drain_hands_the_flows_over() {
    let mut wish = desired(model());
    let mut kernel = Kernel::new(&wish);
    let mut alone = (*wish.model).clone();
    alone.instances.truncate(1);
    wish.model = alone.into();
    kernel.step(&wish);
    wish.ended.insert(name("gw-2"));
    kernel.step(&wish);
    assert!(places(&mut kernel, 10_000..10_200).iter().all(|&to| to == mac(1)));
}

#[test]
fn an_unresolved_instance_is_a_reason_of_its_own() {
    let wish = desired(model());
    let mut kernel = Kernel::new(&wish);
    let mut lost = wish;
    lost.ways.clear();
    kernel.step(&lost);
    let out = kernel.run(&Packet::tcp(9, 443, ACK, 1).ip(INSIDE, PRIVATE).ethernet(&[]));
    assert_eq!(out.action, Action::Drop);
    assert_eq!(kernel.counters().dropped[&("10.0.0.5:443".to_owned(), "neighbour")], 1);
}

#[test]
fn the_same_plan_twice_writes_nothing() {
    let wish = desired(model());
    let mut kernel = Kernel::new(&wish);
    let plan = gateway_userspace::plan::plan(&wish, Some(&kernel.plan)).unwrap();
    let changes = kernel.dataplane.apply(&plan).unwrap();
    assert_eq!((changes.buckets, changes.entries), (0, 0));
}

#[test]
fn a_number_that_is_given_away_again_begins_at_zero() {
    let full = model();
    let mut wish = desired(full.clone());
    let mut kernel = Kernel::new(&wish);
    kernel.run(&syn(443).ip(INSIDE6, PRIVATE6).ethernet(&[]));
    kernel.run(&syn(22).ip(INSIDE6, PRIVATE6).ethernet(&[]));
    let mut fewer = full.clone();
    fewer.vip.private.truncate(1);
    wish.model = fewer.clone().into();
    kernel.step(&wish);
    // Its scopes are free now, and the next VIP gets them.
    fewer.vip.private.push("fd00:0:0:1::6".parse().unwrap());
    wish.model = fewer.into();
    kernel.step(&wish);
    let counted = kernel.counters();
    assert!(counted.forwarded.keys().all(|name| !name.contains("::6")), "{counted:?}");
    assert!(counted.dropped.is_empty(), "{counted:?}");
}
