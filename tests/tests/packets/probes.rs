//! The programs of probes through the data path: what a socket sends to an instance's address gets what clients' packets of the VIP
//! have, and the other way round. Each frame that has to come out is built by itself, with checksums over all of it.

use std::net::IpAddr;

use aya::programs::{TestRun as _, TestRunOptions};
use gateway_ebpf::{
    host::HostProbes,
    layout::{PROBE_PORT, Probe},
    probe::{self, Verdict},
};
use gateway_userspace::{
    dataplane::{Connections, Direction, Port},
    model::Forwarding,
    plan::{Desired, Interface, Side},
};
use lab::host::Host;

use super::{
    builder::{ACK, CLIENT, OURS, Packet, RST, SYN, aged},
    targets::{Kernel, desired, host, mac, model, name},
};

const VIP: &str = "10.0.0.5";
const VIP6: &str = "fd00:0:0:1::5";
const DIP: &str = "10.0.0.11";
const DIP6: &str = "fd00:0:0:1::11";
/// The balancer's own.
const OWN: &str = "10.0.0.2";
const OWN6: &str = "fd00:0:0:1::2";
const PORT: u16 = PROBE_PORT + 77;
const PORT6: u16 = PROBE_PORT + 4095;

/// `TC_ACT_UNSPEC`: the next one's, or on its way.
const ON: u32 = u32::MAX;
/// `TC_ACT_SHOT`
const DROPPED: u32 = 2;

/// Both programs, with a connection of either family to gw-1.
struct Programs {
    kernel: Kernel,
    connections: Connections,
    probes: [Probe; 2],
    _ports: Vec<Port>,
}

impl Programs {
    /// `dips`: whether its IPv4 address comes first, by which tunnels go.
    fn new(mode: Forwarding, dips: [&str; 2]) -> Self {
        let mut model = model();
        model.balancer.forwarding = mode;
        model.instances[0].dip = dips.map(|dip| dip.parse().unwrap()).to_vec();
        let mut desired = desired(model);
        for ((_, dip), way) in &mut desired.ways {
            way.source = if dip.is_ipv4() { OWN } else { OWN6 }.parse().unwrap();
        }
        Self::of(&desired)
    }

    fn of(desired: &Desired) -> Self {
        let mut kernel = Kernel::new(desired);
        let connections = kernel.dataplane.connections().unwrap();
        let instance = kernel.plan.numbers[&name("gw-1")];
        let address = |text: &str| text.parse::<IpAddr>().unwrap().into();
        let probe = |source, dip, vip, source_port, port| Probe {
            source: address(source),
            dip: address(dip),
            vip: address(vip),
            source_port,
            port,
            instance,
            pad: 0,
        };
        let probes = [probe(OWN, DIP, VIP, PORT, 443), probe(OWN6, DIP6, VIP6, PORT6, 3443)];
        let ports = probes.iter().map(|probe| enter(&connections, *probe)).collect();
        Self { kernel, connections, probes, _ports: ports }
    }

    /// What becomes of a frame, in the kernel and on the host alike.
    fn run(&mut self, direction: Direction, row: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut out = vec![0; 4096];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = self.kernel.dataplane.classifier(direction).unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);

        let mut tables = host(&self.kernel.plan);
        tables.interface = super::targets::INTERFACE;
        let probes = self.probes.map(|probe| (u32::from(probe.source_port - PROBE_PORT), probe)).into();
        let on_host = HostProbes { tables: &tables, probes };
        let mut frame = frame.to_vec();
        let verdict = match direction {
            Direction::Leave => probe::leave(&mut frame, &on_host),
            Direction::Arrive => probe::arrive(&mut frame, &on_host),
        };
        let returned = if verdict == Verdict::Lost { DROPPED } else { ON };
        assert_eq!(result.return_value, returned, "{row}: kernel and host");
        if verdict != Verdict::Lost {
            assert_eq!(out, frame, "{row}: kernel and host");
        }
        (result.return_value, out)
    }
}

/// In the table from its own port, which comes when it is its turn.
fn enter(connections: &Connections, probe: Probe) -> Port {
    let mut others = Vec::new();
    loop {
        let mut port = connections.port().unwrap();
        if port.number() == probe.source_port {
            port.enter(probe).unwrap();
            return port;
        }
        others.push(port);
    }
}

fn syn(from: u16, to: u16) -> Packet {
    Packet::tcp(from, to, SYN, 1)
}

fn data(from: u16, to: u16) -> Packet {
    Packet::tcp(from, to, ACK, 7).data(b"GET / HTTP/1.1\r\n\r\n?")
}

/// From this host's stack to the next hop that a route told it.
fn from_stack(packet: Packet) -> Vec<u8> {
    let mut frame = packet.ethernet_to(CLIENT, &[]);
    frame[6..12].copy_from_slice(&OURS);
    frame
}

/// As the table of instances has it.
fn to_instance(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac(1));
    frame[6..12].copy_from_slice(&OURS);
    frame
}

/// A packet one hop later, as what is put into a tunnel is.
fn older(packet: Packet) -> Packet {
    Packet::ready(&aged(packet.ethernet(&[]))[14..])
}

/// The outer UDP port is the program's own choice: taken from what came out.
fn gue_port(frame: &[u8]) -> u16 {
    let at = if frame[12..14] == [0x08, 0x00] { 34 } else { 54 };
    let port = u16::from_be_bytes([frame[at], frame[at + 1]]);
    assert!(port >= 0xc000, "{port}");
    port
}

fn outer(packet: Packet, over_v4: bool) -> Packet {
    if !over_v4 {
        return packet.ip(OWN6, DIP6);
    }
    let fields = super::builder::Fields { identification: 0, fragment: 0x4000, ..Default::default() };
    packet.ipv4_of(OWN.parse().unwrap(), DIP.parse().unwrap(), &[], &fields)
}

/// What the socket sends, and what a client's packet would be.
fn sent() -> Vec<(&'static str, Packet, Packet)> {
    vec![
        ("SYN", syn(PORT, 443).ip(OWN, DIP), syn(PORT, 443).ip(OWN, VIP)),
        ("data", data(PORT, 443).ip(OWN, DIP), data(PORT, 443).ip(OWN, VIP)),
        ("SYN6", syn(PORT6, 3443).ip(OWN6, DIP6), syn(PORT6, 3443).ip(OWN6, VIP6)),
        ("data6", data(PORT6, 3443).ip(OWN6, DIP6), data(PORT6, 3443).ip(OWN6, VIP6)),
    ]
}

#[test]
fn a_probe_leaves_as_a_clients_packet_of_the_vip() {
    let mut programs = Programs::new(Forwarding::L2, [DIP, DIP6]);
    for (row, from_socket, expected) in sent() {
        let (action, frame) = programs.run(Direction::Leave, row, &from_stack(from_socket));
        assert_eq!((action, frame), (ON, to_instance(expected.ethernet(&[]))), "{row}");
    }
}

#[test]
fn a_probe_leaves_in_the_tunnel_that_leads_to_its_instance() {
    for dips in [[DIP, DIP6], [DIP6, DIP]] {
        let over_v4 = dips[0] == DIP;
        let mut programs = Programs::new(Forwarding::Ipip, dips);
        for (row, from_socket, expected) in sent() {
            let (action, frame) = programs.run(Direction::Leave, row, &from_stack(from_socket));
            let expected = outer(older(expected).in_ip(), over_v4).ethernet(&[]);
            assert_eq!((action, frame), (ON, to_instance(expected)), "{row}");
        }
        let mut programs = Programs::new(Forwarding::Gue, dips);
        for (row, from_socket, expected) in sent() {
            let (action, frame) = programs.run(Direction::Leave, row, &from_stack(from_socket));
            let mut expected = outer(older(expected).gue(gue_port(&frame), &[]), over_v4).ethernet(&[]);
            if over_v4 {
                // RFC 768: none.
                expected[40..42].fill(0);
            }
            assert_eq!((action, frame), (ON, to_instance(expected)), "{row}");
        }
    }
}

#[test]
fn an_answer_arrives_from_the_address_that_the_socket_knows() {
    for mode in [Forwarding::L2, Forwarding::Ipip, Forwarding::Gue] {
        let mut programs = Programs::new(mode, [DIP, DIP6]);
        for (row, answer, expected) in [
            ("RST", Packet::tcp(443, PORT, RST, 9).ip(VIP, OWN), Packet::tcp(443, PORT, RST, 9).ip(DIP, OWN)),
            ("data", data(443, PORT).ip(VIP, OWN), data(443, PORT).ip(DIP, OWN)),
            ("IPv6", data(3443, PORT6).ip(VIP6, OWN6), data(3443, PORT6).ip(DIP6, OWN6)),
        ] {
            let outcome = programs.run(Direction::Arrive, row, &answer.ethernet(&[]));
            assert_eq!(outcome, (ON, expected.ethernet(&[])), "{row}");
        }
    }
}

#[test]
fn r24_strangers_are_not_touched() {
    let mut programs = Programs::new(Forwarding::Gue, [DIP, DIP6]);
    let mut cut = from_stack(data(PORT, 443).ip(OWN, DIP));
    cut.truncate(14 + 20 + 12);
    let mut arp = from_stack(syn(PORT, 443).ip(OWN, DIP));
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    for (row, frame) in [
        ("another port of ours", from_stack(syn(PORT + 1, 443).ip(OWN, DIP))),
        ("below the ports of probes", from_stack(syn(PORT & 0xfff, 443).ip(OWN, DIP))),
        ("another service", from_stack(syn(PORT, 3443).ip(OWN, DIP))),
        ("another instance", from_stack(syn(PORT, 443).ip(OWN, "10.0.0.12"))),
        ("another address of ours", from_stack(syn(PORT, 443).ip("10.0.0.3", DIP))),
        ("what comes back", from_stack(syn(443, PORT).ip(VIP, OWN))),
        ("UDP", from_stack(Packet::udp(PORT, 443, b"datagram").ip(OWN, DIP))),
        ("a later fragment", from_stack(data(PORT, 443).ip_with(OWN, DIP, &[], 0x0002))),
        ("options", from_stack(syn(PORT, 443).ip_with(OWN, DIP, &[1, 1, 1, 1], 0))),
        ("IPv6 from the port of IPv4", from_stack(syn(PORT, 443).ip(OWN6, DIP6))),
        ("tagged", syn(PORT, 443).ip(OWN, DIP).ethernet(&[(0x8100, 7)])),
        ("cut off", cut),
        ("no IP", arp),
    ] {
        let outcome = programs.run(Direction::Leave, row, &frame);
        assert_eq!(outcome, (ON, frame), "{row}");
    }
    for (row, packet) in [
        ("another port of ours", syn(443, PORT + 1).ip(VIP, OWN)),
        ("another service", syn(3443, PORT).ip(VIP, OWN)),
        ("another VIP", syn(443, PORT).ip("10.0.0.6", OWN)),
        ("the instance's own address", syn(443, PORT).ip(DIP, OWN)),
        ("to another address", syn(443, PORT).ip(VIP, "10.0.0.3")),
        ("to the VIP", syn(PORT, 443).ip(OWN, VIP)),
        ("UDP", Packet::udp(443, PORT, b"datagram").ip(VIP, OWN)),
    ] {
        let frame = packet.ethernet(&[]);
        let outcome = programs.run(Direction::Arrive, row, &frame);
        assert_eq!(outcome, (ON, frame), "{row}");
    }
}

#[test]
fn a_connection_that_is_over_is_a_stranger() {
    let mut programs = Programs::new(Forwarding::L2, [DIP, DIP6]);
    let other = Probe { source_port: PORT + 1, ..programs.probes[0] };
    let frame = from_stack(syn(PORT + 1, 443).ip(OWN, DIP));
    let entered = enter(&programs.connections, other);
    programs.probes[1] = other;
    let (_, out) = programs.run(Direction::Leave, "entered", &frame);
    assert_ne!(out, frame);
    drop(entered);
    programs.probes[1] = Probe::default();
    programs.probes[1].source_port = PROBE_PORT;
    assert_eq!(programs.run(Direction::Leave, "over", &frame), (ON, frame.clone()));
}

#[test]
fn an_instance_that_cannot_be_reached_by_this_interface_gets_nothing() {
    let balancer = Host::new("probes").unwrap();
    balancer.ip(["link add other type veth peer name peer"]).unwrap();
    balancer.enter(|| {
        let mut unresolved = desired(model());
        unresolved.ways.clear();
        let mut elsewhere = desired(model());
        let index = nix::net::if_::if_nametoindex("other").unwrap();
        elsewhere.interfaces.push(Interface { index, mac: OURS, side: Side::Inside });
        for way in elsewhere.ways.values_mut() {
            way.interface = index;
        }
        for wish in [unresolved, elsewhere] {
            let mut programs = Programs::of(&wish);
            let frame = from_stack(syn(PORT, 443).ip(OWN, DIP));
            assert_eq!(programs.run(Direction::Leave, "lost", &frame).0, DROPPED);
        }
    });
}
