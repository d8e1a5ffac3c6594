//! R24: what is not for a VIP passes untouched.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use lab::{
    address::{BALANCER, CLIENT, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC},
    curl::Curl,
    frame::{self, IPV4, Packet, V4, VLAN, protocol},
    gateway::Gateway,
    inject::Injector,
    lab::Lab,
    service,
    wait::eventually,
    wire::Wire,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn up() -> (Lab, Gateway) {
    let lab = Lab::raise(1).unwrap();
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    (lab, balancer)
}

#[test]
fn r24_arp_and_neighbour_discovery_work_for_the_host_and_the_vips() {
    let (lab, _balancer) = up();
    let [v4, v6] = BALANCER.addresses();
    let mac = BALANCER.mac().map(|byte| format!("{byte:02x}")).join(":");
    for address in [v4, v6, PRIVATE.into(), PRIVATE6.into()] {
        // A neighbour in this state is asked by unicast, up to three times; then it is reachable or has failed.
        let probe = format!("ip neighbour replace {address} lladdr {mac} dev eth0 nud probe");
        lab.hosts.client.must(&probe).unwrap();
        let show = || lab.hosts.client.must(&format!("ip neighbour show {address}")).unwrap();
        assert!(eventually(PATIENCE, || show().contains("REACHABLE")), "{}", show());
        // From nothing: asked by broadcast or multicast. A datagram to a closed port makes the client ask.
        lab.hosts.client.must(&format!("ip neighbour del {address} dev eth0")).unwrap();
        lab.hosts.client.enter(|| {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = std::net::UdpSocket::bind((any, 0)).unwrap();
            socket.send_to(b"?", SocketAddr::new(address, 9)).unwrap();
        });
        assert!(eventually(PATIENCE, || show().contains(&mac)), "{}", show());
    }
}

#[test]
fn r24_a_login_to_the_host_works_from_everywhere() {
    let (lab, _balancer) = up();
    for address in BALANCER.addresses() {
        let at = SocketAddr::new(address, 22);
        let listener = lab.hosts.balancer.enter(|| TcpListener::bind(at)).unwrap();
        for host in [&lab.hosts.client, &lab.hosts.routed, &lab.hosts.outside] {
            let server = listener.try_clone().unwrap();
            let echo = thread::spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                let mut reader = stream.try_clone().unwrap();
                std::io::copy(&mut reader, &mut stream).unwrap();
            });
            let sent = (0..200_000).map(service::pattern).collect::<Vec<_>>();
            let received = host.enter(|| {
                let mut stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
                let mut writer = stream.try_clone().unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.write_all(&sent).unwrap();
                        writer.shutdown(std::net::Shutdown::Write).unwrap();
                    });
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).unwrap();
                    received
                })
            });
            assert!(received == sent, "{} to {at}", host.name());
            echo.join().unwrap();
        }
    }
}

#[test]
fn r24_the_host_answers_an_echo() {
    let (lab, _balancer) = up();
    let client = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    for (from, to) in CLIENT.addresses().into_iter().zip(BALANCER.addresses()) {
        let (icmp, message) = frame::echo(from, to, 5);
        client.wire.send(&frame::packet(BALANCER.mac(), CLIENT.mac(), from, to, icmp, &message)).unwrap();
        let reply = |bytes: &[u8]| {
            let packet = Packet::parse(bytes)?;
            let kind = if to.is_ipv4() { bytes.get(34) } else { bytes.get(54) };
            (packet.from == to && matches!(kind, Some(0 | 129))).then_some(())
        };
        assert!(client.wire.receive(PATIENCE, reply).unwrap().is_some(), "{to}");
    }
}

#[test]
fn r24_the_host_reaches_others_and_forwards_for_others() {
    let (lab, _balancer) = up();
    let balancer = &lab.hosts.balancer;
    balancer.sysctl("net/ipv4/ip_forward", "1").unwrap();
    balancer.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    let [v4, v6] = BALANCER.addresses();
    lab.hosts
        .client
        .ip([format!("route add 10.0.1.0/24 via {v4}"), format!("route add fd00:0:0:2::/64 via {v6}")])
        .unwrap();
    let expected = (0..1_000_000).map(service::pattern).collect::<Vec<_>>();
    for at in service::addresses("gateway").unwrap() {
        for host in [balancer, &lab.hosts.client] {
            let answer = Curl::url(&lab, &format!("http://{at}/bytes/1000000")).send(host).unwrap();
            assert!(
                answer.status == 200 && answer.body == expected,
                "{} {at}: {}",
                host.name(),
                answer.error
            );
        }
    }
}

#[test]
fn r24_frames_of_other_kinds_reach_the_stack_unchanged() {
    let (lab, _balancer) = up();
    let client = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let stack = Wire::open(&lab.hosts.balancer, "eth0").unwrap();
    let to_host = V4::new(CLIENT.v4(), BALANCER.v4(), protocol::UDP).packet(&[7; 30]);
    let elsewhere = V4::new(CLIENT.v4(), OUTSIDE.v4(), 253).packet(&[8; 30]);
    let fragment =
        V4 { fragment: 0x2000, ..V4::new(CLIENT.v4(), BALANCER.v4(), protocol::UDP) }.packet(&[9; 32]);
    // A VIP in the payload of something else is no VIP.
    let mentions = [&[0; 16][..], &PUBLIC.octets(), &PRIVATE.octets(), &[0; 30]].concat();
    let frames = [
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], 0x88cc, &mentions),
        frame::ethernet([0xff; 6], CLIENT.mac(), &[], 0x88b5, &mentions),
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], IPV4, &to_host),
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], IPV4, &elsewhere),
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], IPV4, &fragment),
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], IPV4, &[0x45; 12]),
        frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[], 100, &[0xaa; 60]),
    ];
    for sent in frames {
        client.send([sent.clone()]).unwrap();
        let same = |frame: &[u8]| (frame == sent).then_some(());
        assert_eq!(stack.arrived(same).unwrap().len(), 1, "{sent:02x?}");
    }
    // The kernel takes the tag off before it shows the frame.
    client.send([frame::ethernet(BALANCER.mac(), CLIENT.mac(), &[(VLAN, 7)], IPV4, &to_host)]).unwrap();
    let untagged = |frame: &[u8]| frame.ends_with(&to_host).then_some(());
    assert_eq!(stack.arrived(untagged).unwrap().len(), 1);
}
