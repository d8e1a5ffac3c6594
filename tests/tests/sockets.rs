//! Whose a segment of a moved bucket is, by real sockets: what the kernel says in each state of a connection.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use gateway_ebpf::decap::Settled;
use lab::{host::Host, wait, wire::Wire};

#[path = "packets/builder.rs"]
#[expect(dead_code, reason = "the tables of packets use all of it")]
mod builder;
#[path = "packets/decap/fixture.rs"]
#[expect(dead_code, reason = "the tables of packets use all of it")]
mod fixture;
#[path = "packets/targets.rs"]
#[expect(dead_code, reason = "the tables of packets use all of it")]
mod targets;

use self::{
    builder::{ACK, SYN},
    fixture::{Flow, INSIDE, INSIDE6, Instance, V4, V6, VIP, VIP6, ids, list, steered, wish},
    targets::Action,
};

/// gw-1's host: it has the VIPs and, for the tests' clients, their addresses too.
fn host() -> Host {
    let host = Host::new("gw-1").unwrap();
    let v4 = [VIP, INSIDE].map(|ip| format!("address add {ip}/32 dev lo"));
    let v6 = [VIP6, INSIDE6].map(|ip| format!("address add {ip}/128 dev lo nodad"));
    host.ip(v4.into_iter().chain(v6)).unwrap();
    host
}

/// A client's socket, the instance's, and their flow.
fn connect(flow: Flow, listener: &TcpListener) -> (Flow, TcpStream, TcpStream) {
    let domain = socket2::Domain::for_address((flow.client.parse::<IpAddr>().unwrap(), 0).into());
    let client = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    let address = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
    client.bind(&address(flow.client, 0).into()).unwrap();
    client.connect(&address(flow.vip, 443).into()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    (Flow { port: peer.port(), ..flow }, client.into(), server)
}

/// What became of a segment of the flow that has gw-2 as its next hop.
fn ask(instance: &mut Instance, flow: Flow, flags: u8) -> (Action, Option<Settled>) {
    let (second, _) = ids();
    let became = instance.run(&steered(flow.segment(flags, 7), &list(0, 9, &[second])).ethernet(&[]));
    (became.outcome.action, became.settled.keys().next().copied())
}

const MINE: (Action, Option<Settled>) = (Action::Pass, Some(Settled::Socket));
const NEXT: (Action, Option<Settled>) = (Action::Transmit, Some(Settled::Forwarded));

#[test]
fn a_flow_is_its_sockets_in_every_state_but_listen() {
    let host = host();
    host.enter(|| {
        let mut instance = Instance::new(&wish(false));
        for flow in [V4, V6] {
            let listener = TcpListener::bind((flow.vip, 443)).unwrap();
            let (established, client, server) = connect(flow, &listener);
            assert_eq!(ask(&mut instance, established, ACK), MINE, "established {flow:?}");
            // A listener is there for every port; that makes nobody's segment no one's here.
            let other = Flow { port: established.port ^ 1, ..flow };
            assert_eq!(ask(&mut instance, other, ACK), NEXT, "nobody's {flow:?}");
            assert_eq!(ask(&mut instance, other, SYN), (Action::Pass, Some(Settled::Syn)));
            // Who closes first waits.
            drop(server);
            drop(client);
            let states = host.must("ss --no-header --tcp --numeric --all state time-wait").unwrap();
            assert!(states.contains(&established.port.to_string()), "{states}");
            assert_eq!(ask(&mut instance, established, ACK), MINE, "TIME_WAIT {flow:?}");
        }
    });
}

/// A client that says no more than its SYN: its address is nobody's. The sequence number of the answer.
fn half_open(host: &Host, flow: Flow) -> u32 {
    const PLACE: usize = 14 + 20;
    let wire = Wire::open(host, "lo").unwrap();
    let raw = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::RAW,
        Some(socket2::Protocol::from(libc::IPPROTO_RAW)),
    )
    .unwrap();
    let syn = flow.segment(SYN, 6).quoted(usize::MAX);
    raw.send_to(&syn, &SocketAddr::new(flow.vip.parse().unwrap(), 0).into()).unwrap();
    let answer = |frame: &[u8]| {
        let tcp = frame.get(PLACE..)?;
        let is_ours = tcp.get(2..4)? == flow.port.to_be_bytes() && tcp.get(13)? & (SYN | ACK) == SYN | ACK;
        is_ours.then(|| u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]))
    };
    wait::until(Duration::from_secs(5), || wire.arrived(answer).unwrap().pop()).expect("no SYN-ACK")
}

/// Of an address that is routed here and that nobody has, so that nothing resets what it began.
const SILENT: Flow = Flow { client: "10.0.7.8", ..V4 };

#[test]
fn a_flow_is_its_sockets_while_it_is_half_open() {
    let host = host();
    host.ip([format!("route add {} dev lo", SILENT.client)]).unwrap();
    host.enter(|| {
        let _listener = TcpListener::bind((SILENT.vip, 443)).unwrap();
        let mut instance = Instance::new(&wish(false));
        assert_eq!(ask(&mut instance, SILENT, ACK), NEXT);
        half_open(&host, SILENT);
        assert_eq!(ask(&mut instance, SILENT, ACK), MINE);
    });
}

#[test]
fn an_acknowledged_cookie_is_the_hosts_that_made_it() {
    let host = host();
    host.ip([format!("route add {} dev lo", SILENT.client)]).unwrap();
    // Cookies for every SYN.
    host.sysctl("net/ipv4/tcp_syncookies", "2").unwrap();
    host.enter(|| {
        let _listener = TcpListener::bind((SILENT.vip, 443)).unwrap();
        let mut instance = Instance::new(&wish(false));
        let cookie = half_open(&host, SILENT);
        let (second, _) = ids();
        let mut answer = |acknowledgment: u32| {
            // The acknowledgment number stands 8 bytes behind the beginning of the TCP header.
            let octets = acknowledgment.to_be_bytes();
            let segment =
                (28..).zip(octets).fold(SILENT.segment(ACK, 7), |packet, (at, octet)| packet.byte(at, octet));
            let became = instance.run(&steered(segment, &list(0, 9, &[second])).ethernet(&[]));
            (became.outcome.action, became.settled.keys().next().copied())
        };
        // The lowest 24 bits are the size of segments, by a number below four, and a hash.
        assert_eq!(answer(cookie.wrapping_add(0x55_0001)), NEXT, "a bogus one");
        assert_eq!(answer(cookie.wrapping_add(1)), (Action::Pass, Some(Settled::Cookie)));
    });
}
