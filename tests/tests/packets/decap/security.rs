//! What is no balancer's, or for no VIP, comes out of no tunnel.

use network_types::ip::IpProto;

use super::fixture::{
    BALANCER, BALANCER6, DIP, DIP6, INSIDE, INSIDE6, Instance, VIP, VIP6, list, segment, wish,
};
use crate::builder::{ACK, Packet, SYN};

/// Both tunnels over both families around a packet.
fn tunnels(inner: &Packet, from: [&str; 2]) -> Vec<(&'static str, Vec<u8>)> {
    let to = [DIP, DIP6];
    (0..2)
        .flat_map(|n| {
            let ipip = inner.clone().in_ip().ip(from[n], to[n]).ethernet(&[]);
            let gue = inner.clone().gue(0xc001, &[]).ip(from[n], to[n]).ethernet(&[]);
            let hops = inner.clone().gue(0xc001, &list(0, 1, &[])).ip(from[n], to[n]).ethernet(&[]);
            [(to[n], ipip), (to[n], gue), (to[n], hops)]
        })
        .collect()
}

#[test]
fn r24_what_is_no_tunnels_passes_untouched() {
    let mut instance = Instance::new(&wish(false));
    let tcp =
        |to: &str| Packet::tcp(50_000, 22, SYN, 1).ip(if to.contains(':') { INSIDE6 } else { INSIDE }, to);
    for (row, frame) in [
        ("ssh to the DIP", tcp(DIP).ethernet(&[])),
        ("ssh to the DIP, IPv6", tcp(DIP6).ethernet(&[])),
        ("the VIP itself", segment(VIP).ethernet(&[])),
        ("a tunnel to another address", segment(VIP).in_ip().ip(BALANCER, "10.0.0.12").ethernet(&[])),
        ("another UDP port", Packet::udp(1, 6081, b"data").ip(BALANCER, DIP).ethernet(&[])),
        ("GRE", Packet::raw(47, &[0; 24]).ip(BALANCER, DIP).ethernet(&[])),
        (
            "a later fragment of UDP",
            Packet::udp(1, 6080, b"data").ip_with(BALANCER, DIP, &[], 0x00b9).ethernet(&[]),
        ),
        (
            "neighbour discovery",
            Packet::icmp(IpProto::Ipv6Icmp, 135, 0, &[0; 16]).ip(BALANCER6, DIP6).ethernet(&[]),
        ),
        ("nothing at all", vec![0; 14]),
        ("a short header", Packet::raw(4, &[]).ip(BALANCER, DIP).ethernet(&[])[..30].to_vec()),
    ] {
        instance.passes(row, &frame);
    }
}

#[test]
fn only_the_balancers_are_unwrapped() {
    let mut instance = Instance::new(&wish(false));
    for stranger in
        [["10.0.0.3", "fd00:0:0:1::3"], ["10.0.0.12", "fd00:0:0:1::12"], ["198.51.100.7", "2001:db8::7"]]
    {
        for (dip, frame) in tunnels(&segment(VIP), stranger) {
            instance.drops(stranger[0], &frame, dip, "stranger");
        }
    }
    // An empty slot of the table of balancers has this address.
    let frame = segment(VIP).in_ip().ip("::", DIP6).ethernet(&[]);
    instance.drops("from nobody", &frame, DIP6, "stranger");
    // A tunnel behind more headers than are looked through is not left to the kernel.
    let many = (0..5)
        .fold(segment(VIP).in_ip(), |packet, _| packet.extension(IpProto::Ipv6Opts, &[0, 1, 4, 0, 0, 0, 0]));
    instance.drops("behind five headers", &many.ip(BALANCER6, DIP6).ethernet(&[]), DIP6, "outer-header");
    let frame = segment(VIP).in_ip().ip(BALANCER, DIP).ethernet_to([2, 0, 0, 0, 0, 0x44], &[]);
    instance.drops("for another host", &frame, DIP, "other-host");
    let frame = segment(VIP).in_ip().ip(BALANCER, DIP).ethernet_to([0xff; 6], &[]);
    instance.drops("for everybody", &frame, DIP, "link-multicast");
}

#[test]
fn what_comes_by_another_interface_is_no_balancers() {
    let mut wish = wish(false);
    wish.interfaces[0].index = 2;
    wish.ways.clear();
    let mut instance = Instance::new(&wish);
    for (dip, frame) in tunnels(&segment(VIP), [BALANCER, BALANCER6]) {
        let became = instance.run(&frame);
        assert_eq!(became.counted.dropped, [((dip.to_owned(), "interface"), 1)].into());
    }
}

#[test]
fn r14_r20_nothing_comes_out_of_a_tunnel_that_a_balancer_would_not_let_in() {
    let mut instance = Instance::new(&wish(false));
    let syn = |from: &str, to: &str, port| Packet::tcp(50_000, port, SYN, 1).ip(from, to);
    let echo = |kind: u8| Packet::icmp(IpProto::Icmp, kind, 0, &[0; 20]).ip(INSIDE, VIP);
    let advertisement = Packet::icmp(IpProto::Ipv6Icmp, 136, 0, &[0; 16]).ip(INSIDE6, VIP6).hops(255);
    for (row, inner, scope, reason) in [
        ("outside", syn("198.51.100.7", VIP, 443), VIP, "source"),
        ("outside, IPv6", syn("2001:db8::7", VIP6, 443), VIP6, "source"),
        ("unserved port", syn(INSIDE, VIP, 22), VIP, "no-service"),
        ("UDP", Packet::udp(1, 443, b"data").ip(INSIDE, VIP), VIP, "no-service"),
        ("443 on the public VIP", syn("198.51.100.7", "203.0.113.5", 443), "203.0.113.5", "no-service"),
        ("a stranger on 3443", syn("192.0.2.1", "203.0.113.5", 3443), "203.0.113.5:3443", "source"),
        ("GRE", Packet::raw(47, &[0; 24]).ip(INSIDE, VIP), VIP, "protocol"),
        ("a message of ICMP", echo(13), VIP, "icmp-type"),
        // A balancer passes these up its own stack.
        ("neighbour discovery", advertisement, VIP6, "icmp-type"),
        ("a lie about the length", segment(VIP).byte(3, 200), VIP, "bad-length"),
    ] {
        for (_, frame) in tunnels(&inner, [BALANCER, BALANCER6]) {
            instance.drops(row, &frame, scope, reason);
        }
    }
    let dip = syn(INSIDE, DIP, 22);
    let elsewhere = syn(INSIDE, "10.0.0.99", 443);
    let nested = segment(VIP).in_ip().ip(BALANCER, DIP);
    let nested_gue = segment(VIP).gue(0xc001, &[]).ip(BALANCER, DIP);
    for inner in [dip, elsewhere, nested, nested_gue] {
        for (outer, frame) in tunnels(&inner, [BALANCER, BALANCER6]) {
            instance.drops("no VIP", &frame, outer, "not-vip");
        }
    }
    // A tunnel to the VIP is nothing that a balancer forwards.
    let nested = segment(VIP).in_ip().ip(INSIDE, VIP);
    for (_, frame) in tunnels(&nested, [BALANCER, BALANCER6]) {
        instance.drops("a tunnel to the VIP", &frame, VIP, "protocol");
    }
}

#[test]
fn odd_outer_headers_reach_neither_the_vip_nor_a_tunnel_of_the_kernels() {
    let mut instance = Instance::new(&wish(false));
    let inner = || segment(VIP).in_ip();
    let options = |kind| inner().extension(kind, &[0; 7]).ip(BALANCER6, DIP6).ethernet(&[]);
    let gue = |private: &[u8]| segment(VIP).gue(0xc001, private).ip(BALANCER, DIP);
    for (row, frame, scope, reason) in [
        ("a tag", inner().ip(BALANCER, DIP).ethernet(&[(0x8100, 5)]), DIP, "outer-header"),
        (
            "two tags, IPv6",
            inner().ip(BALANCER6, DIP6).ethernet(&[(0x88a8, 5), (0x8100, 6)]),
            DIP6,
            "outer-header",
        ),
        ("options", inner().ip_with(BALANCER, DIP, &[1, 1, 1, 0], 0).ethernet(&[]), DIP, "outer-header"),
        ("a first fragment", inner().ip_with(BALANCER, DIP, &[], 0x2000).ethernet(&[]), DIP, "outer-header"),
        ("a later fragment", inner().ip_with(BALANCER, DIP, &[], 0x00b9).ethernet(&[]), DIP, "outer-header"),
        (
            "a first fragment of GUE",
            segment(VIP).gue(1, &[]).ip_with(BALANCER, DIP, &[], 0x2000).ethernet(&[]),
            DIP,
            "outer-header",
        ),
        ("hop-by-hop options", options(IpProto::HopOpt), DIP6, "outer-header"),
        ("destination options", options(IpProto::Ipv6Opts), DIP6, "outer-header"),
        (
            "an IPv6 fragment",
            inner().extension(IpProto::Ipv6Frag, &[0, 0, 1, 0, 0, 0, 1]).ip(BALANCER6, DIP6).ethernet(&[]),
            DIP6,
            "outer-header",
        ),
        ("longer than the frame", inner().ip(BALANCER, DIP).byte(2, 1).ethernet(&[]), DIP, "outer-length"),
        ("shorter than its header", inner().ip(BALANCER, DIP).byte(3, 19).ethernet(&[]), DIP, "outer-length"),
        (
            "longer than the frame, IPv6",
            inner().ip(BALANCER6, DIP6).byte(4, 1).ethernet(&[]),
            DIP6,
            "outer-length",
        ),
        (
            "shorter than what it carries",
            inner().ip(BALANCER, DIP).byte(3, 60).ethernet(&[]),
            VIP,
            "bad-length",
        ),
        ("UDP longer than its packet", gue(&[]).byte(25, 200).ethernet(&[]), DIP, "outer-length"),
        ("UDP shorter than its packet", gue(&[]).byte(25, 20).ethernet(&[]), DIP, "outer-length"),
        ("variant 1", gue(&[]).byte(28, 0x40).ethernet(&[]), DIP, "gue"),
        ("a control message", gue(&[]).byte(28, 0x20).ethernet(&[]), DIP, "gue"),
        ("some other private data", gue(&[0; 4]).ethernet(&[]), DIP, "gue"),
        ("more private data than hops", gue(&[0; 40]).ethernet(&[]), DIP, "gue"),
        ("an optional field", gue(&[0; 36]).byte(30, 0x80).ethernet(&[]), DIP, "gue"),
        ("GUE around TCP", gue(&[]).byte(29, 6).ethernet(&[]), DIP, "gue"),
        ("GUE around the other family", gue(&[]).byte(29, 41).ethernet(&[]), DIP, "not-vip"),
        (
            "nothing behind GUE",
            Packet::udp(1, 6080, &[0, 4, 0, 0]).ip(BALANCER, DIP).ethernet(&[]),
            DIP,
            "truncated",
        ),
        (
            "nothing behind UDP",
            Packet::udp(1, 6080, &[]).ip(BALANCER, DIP).ethernet(&[]),
            DIP,
            "outer-length",
        ),
    ] {
        instance.drops(row, &frame, scope, reason);
    }
    let stranger = Packet::tcp(50_000, 443, ACK, 1).ip(INSIDE, VIP).in_ip();
    let tagged = stranger.ip("198.51.100.7", DIP).ethernet(&[(0x8100, 5)]);
    instance.drops("a stranger's tag", &tagged, DIP, "stranger");
}

#[test]
fn r22_later_fragments_come_out_for_the_private_vip_and_from_inside_only() {
    let mut instance = Instance::new(&wish(false));
    let later = |from: &str, to: &str| Packet::udp(1, 443, &[7; 24]).ip_with(from, to, &[], 0x0002);
    let frame = later(INSIDE, VIP).in_ip().ip(BALANCER, DIP).ethernet(&[]);
    // It is of no service, so only the instance's own line counts it.
    let became = instance.run(&frame);
    assert_eq!(became.outcome, instance.run_on_host(&frame).outcome);
    assert_eq!(became.outcome.frame, later(INSIDE, VIP).ethernet(&[]));
    assert_eq!(became.counted.forwarded["gw-1"].0, 1);
    for (from, to, reason) in [("198.51.100.7", VIP, "source"), ("198.51.100.7", "203.0.113.5", "fragment")] {
        for (_, frame) in tunnels(&later(from, to), [BALANCER, BALANCER6]) {
            instance.drops(from, &frame, to, reason);
        }
    }
    // The first one shows its port, and without it the others are nothing.
    let first = Packet::tcp(50_000, 22, ACK, 1).data(&[7; 4]).ip_with(INSIDE, VIP, &[], 0x2000);
    for (_, frame) in tunnels(&first, [BALANCER, BALANCER6]) {
        instance.drops("a first one for ssh", &frame, VIP, "no-service");
    }
}
