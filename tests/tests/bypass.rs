//! R23: no wrapping, cutting or splitting of a packet gets it past R14 and R20.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lab::{
    address::{BALANCER, Mac, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, ROUTER},
    frame::{self, IPV4, IPV6, QINQ, Tcp, V4, VLAN, protocol},
    inject::Injector,
    lab::Lab,
    segments::Arrivals,
    wire::Wire,
};

/// The port that is looked for behind every disguise; 3443, where it appears, is the disguise.
const CLOSED: u16 = 443;
const MANAGEMENT: [u8; 2] = 3443_u16.to_be_bytes();

/// Destinations with a family each: the public VIPs, closed but for 3443, and the private ones, closed to this source.
const V4_TARGETS: [Ipv4Addr; 2] = [PUBLIC, PRIVATE];
const V6_TARGETS: [Ipv6Addr; 2] = [PUBLIC6, PRIVATE6];

fn syn(to: IpAddr) -> Vec<u8> {
    let [v4, v6] = OUTSIDE.addresses();
    Tcp::syn(4000, CLOSED).segment(if to.is_ipv4() { v4 } else { v6 }, to, b"")
}

fn ethernet(tags: &[(u16, u16)], ether_type: u16, packet: &[u8]) -> Vec<u8> {
    frame::ethernet(BALANCER.mac(), ROUTER.mac(), tags, ether_type, packet)
}

type Named = (String, Vec<u8>);

/// Sends the frames one kind at a time from the router, and expects that neither an instance gets one nor anybody answers.
fn nothing_gets_through(frames: Vec<Named>) {
    let lab = Lab::raise(2).unwrap();
    let mut balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    let router = Injector::of_router(&lab.hosts.router).unwrap();
    let answers = Wire::open(&lab.hosts.router, "lan").unwrap();
    let arrivals = Arrivals::listen(&lab).unwrap();
    let vips: [IpAddr; 4] = [PUBLIC.into(), PRIVATE.into(), PUBLIC6.into(), PRIVATE6.into()];
    let count = frames.len() as u64;
    for (name, frame) in frames {
        router.send([frame]).unwrap();
        for vip in vips {
            let through = arrivals.frames_with(vip).unwrap();
            assert!(through.is_empty(), "{name}: {through:02x?}\n{}", balancer.log());
        }
        let spoken = answers.arrived(|frame| speaks_for(frame, &vips)).unwrap();
        assert!(spoken.is_empty(), "{name} was answered: {spoken:02x?}\n{}", balancer.log());
    }
    let counters = lab.counters(&mut balancer).unwrap();
    assert_eq!(counters.dropped_in_all(), count, "each is counted once: {:#?}", counters.drops);
}

/// An answer in a VIP's name.
fn speaks_for(frame: &[u8], vips: &[IpAddr]) -> Option<Vec<u8>> {
    let packet = frame::Packet::parse(frame)?;
    (vips.contains(&packet.from) && packet.to != packet.from).then(|| frame.to_vec())
}

#[test]
fn r23_tags_hide_nothing() {
    let mut frames = Vec::new();
    let stacks: [(&str, &[(u16, u16)]); 5] = [
        ("a priority tag", &[(VLAN, 0)]),
        ("a VLAN tag", &[(VLAN, 7)]),
        ("QinQ", &[(QINQ, 7), (VLAN, 8)]),
        ("two VLAN tags", &[(VLAN, 7), (VLAN, 8)]),
        ("three tags", &[(QINQ, 7), (VLAN, 8), (VLAN, 9)]),
    ];
    for (name, tags) in stacks {
        for to in V4_TARGETS {
            let packet = V4::new(OUTSIDE.v4(), to, protocol::TCP).packet(&syn(to.into()));
            frames.push((format!("{name}, {to}"), ethernet(tags, IPV4, &packet)));
        }
        for to in V6_TARGETS {
            let packet = frame::v6(OUTSIDE.v6(), to, protocol::TCP, &syn(to.into()));
            frames.push((format!("{name}, {to}"), ethernet(tags, IPV6, &packet)));
        }
    }
    nothing_gets_through(frames);
}

#[test]
fn r23_ipv4_options_hide_nothing() {
    let [a, b, c, d] = PUBLIC.octets();
    // Where ports stand in a packet without options, the third claims port 3443.
    let options: [(&str, Vec<u8>); 5] = [
        ("no-operations", vec![1; 40]),
        ("record route", vec![7, 7, 4, 0, 0, 0, 0, 0]),
        ("a port 3443 where it is not", vec![1, 1, MANAGEMENT[0], MANAGEMENT[1]]),
        ("loose source route", vec![131, 7, 4, a, b, c, d, 0]),
        ("an option longer than the header", vec![7, 200, 4, 0]),
    ];
    let mut frames = Vec::new();
    for (name, options) in &options {
        for to in V4_TARGETS {
            let header = V4 { options, ..V4::new(OUTSIDE.v4(), to, protocol::TCP) };
            frames.push((format!("{name}, {to}"), ethernet(&[], IPV4, &header.packet(&syn(to.into())))));
        }
    }
    nothing_gets_through(frames);
}

/// An IPv6 extension header of 8 bytes.
fn extension(next: u8, content: [u8; 6]) -> Vec<u8> {
    [&[next, 0][..], &content].concat()
}

#[test]
fn r23_ipv6_extension_headers_hide_nothing() {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const OPTIONS: u8 = 60;
    const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let mut frames = Vec::new();
    for to in V6_TARGETS {
        let tcp = syn(to.into());
        let one = |kind, content| (kind, [extension(protocol::TCP, content), tcp.clone()].concat());
        let many = |count: usize| {
            let mut chain = vec![extension(OPTIONS, PADDING); count - 1];
            chain.push(extension(protocol::TCP, PADDING));
            (OPTIONS, [chain.concat(), tcp.clone()].concat())
        };
        let chains = [
            ("hop-by-hop options", one(HOP_BY_HOP, PADDING)),
            ("destination options", one(OPTIONS, PADDING)),
            ("a routing header", one(ROUTING, [4, 0, 0, 0, 0, 0])),
            ("a port 3443 where it is not", one(OPTIONS, [MANAGEMENT[0], MANAGEMENT[1], 0, 0, 0, 0])),
            ("two headers", many(2)),
            ("nine headers", many(9)),
            ("a chain that ends in nothing", (OPTIONS, extension(59, PADDING))),
            ("a chain cut short", (OPTIONS, vec![OPTIONS, 0])),
            ("a header longer than the packet", (OPTIONS, vec![protocol::TCP, 255, 1, 4, 0, 0, 0, 0])),
            (
                "an authentication header",
                (51, [vec![protocol::TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], tcp.clone()].concat()),
            ),
        ];
        for (name, (next, payload)) in chains {
            frames.push((
                format!("{name}, {to}"),
                ethernet(&[], IPV6, &frame::v6(OUTSIDE.v6(), to, next, &payload)),
            ));
        }
    }
    nothing_gets_through(frames);
}

#[test]
fn r22_r23_fragments_get_nowhere() {
    const MORE: u16 = 0x2000;
    let mut frames = Vec::new();
    for to in V4_TARGETS {
        let tcp = syn(to.into());
        // The last two carry what looks like port 3443 at their beginning, as a first fragment would.
        let looks_open = [&[0, 80][..], &MANAGEMENT, &[0; 20]].concat();
        let kinds: [(&str, u16, &[u8]); 5] = [
            ("a first fragment", MORE, &tcp),
            ("a first fragment of 8 bytes", MORE, &tcp[..8]),
            ("an overlapping second fragment", 1, &tcp[8..]),
            ("a later fragment", MORE | 100, &looks_open),
            ("a last fragment", 185, &looks_open),
        ];
        for (name, fragment, payload) in kinds {
            let header = V4 { fragment, ..V4::new(OUTSIDE.v4(), to, protocol::TCP) };
            frames.push((format!("{name}, {to}"), ethernet(&[], IPV4, &header.packet(payload))));
        }
    }
    for to in V6_TARGETS {
        let tcp = syn(to.into());
        let looks_open = [&[0, 80][..], &MANAGEMENT, &[0; 20]].concat();
        for (name, offset, payload) in
            [("a first fragment", 1, &tcp), ("a later fragment", 100 << 3, &looks_open)]
        {
            let header =
                [&[protocol::TCP, 0][..], &u16::to_be_bytes(offset), &[0, 0, 0, 9], payload].concat();
            frames.push((
                format!("{name}, {to}"),
                ethernet(&[], IPV6, &frame::v6(OUTSIDE.v6(), to, 44, &header)),
            ));
        }
    }
    nothing_gets_through(frames);
}

#[test]
fn r23_cut_and_lying_headers_get_nowhere() {
    // What is cut before the address that makes it a VIP's passes to the stack (R24), which throws it away.
    let mut frames = Vec::new();
    for to in V4_TARGETS {
        let whole = V4::new(OUTSIDE.v4(), to, protocol::TCP).packet(&syn(to.into()));
        for length in [20, 23, 33, 39] {
            frames.push((format!("cut to {length} bytes, {to}"), ethernet(&[], IPV4, &whole[..length])));
        }
        let lie = |at: usize, bytes: &[u8]| {
            let mut packet = whole.clone();
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            packet
        };
        let lies = [
            ("version 5", lie(0, &[0x55])),
            ("a header of 16 bytes", lie(0, &[0x44])),
            ("a header of 60 bytes", lie(0, &[0x4f])),
            ("longer than it is", lie(2, &[0x05, 0xdc])),
            ("shorter than its header", lie(2, &[0, 10])),
            ("as long as its header", lie(2, &[0, 20])),
            ("IPv6 in the type", lie(0, &[0x60])),
            ("a TCP header of 0 bytes", lie(32, &[0])),
            ("a TCP header of 60 bytes", lie(32, &[0xf0])),
        ];
        frames.extend(lies.map(|(name, packet)| (format!("{name}, {to}"), ethernet(&[], IPV4, &packet))));
    }
    for to in V6_TARGETS {
        let whole = frame::v6(OUTSIDE.v6(), to, protocol::TCP, &syn(to.into()));
        for length in [40, 43, 53, 59] {
            frames.push((format!("cut to {length} bytes, {to}"), ethernet(&[], IPV6, &whole[..length])));
        }
        for (name, length) in [("longer than it is", 1000_u16), ("empty, it says", 0), ("cut, it says", 7)] {
            let mut packet = whole.clone();
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            frames.push((format!("{name}, {to}"), ethernet(&[], IPV6, &packet)));
        }
    }
    nothing_gets_through(frames);
}

#[test]
fn r23_a_frame_for_everybody_gets_nowhere() {
    let everybody: [Mac; 2] = [[0xff; 6], [0x33, 0x33, 0, 0, 0, 1]];
    let mut frames = Vec::new();
    for mac in everybody {
        for to in V4_TARGETS {
            let packet = V4::new(OUTSIDE.v4(), to, protocol::TCP).packet(&syn(to.into()));
            let frame = frame::ethernet(mac, ROUTER.mac(), &[], IPV4, &packet);
            frames.push((format!("{to} by {mac:02x?}"), frame));
        }
    }
    nothing_gets_through(frames);
}
