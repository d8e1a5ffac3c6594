//! R34: many flows, more than there are ports for, and the same through whatever happens to balancer and proxy.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lab::{
    address::{OUTSIDE, PUBLIC},
    host::Host,
    lab::Lab,
    mirror::{Mirror, connections},
    wait::eventually,
};
use nix::sys::signal::Signal;

use crate::support::{PATIENCE, has_ports, instance, rounds};

const VIP: &str = "203.0.113.5";
const DESTINATIONS: u16 = 10;
const FLOWS: usize = 60_000;

/// Connections from a host, in turn to each of the mirror's ports.
fn connect(from: &Host, ports: u16, count: usize) -> Vec<std::io::Result<TcpStream>> {
    connections(from, &places(ports), count, PATIENCE)
}

fn places(ports: u16) -> Vec<SocketAddr> {
    (9000..9000 + ports).map(|port| SocketAddr::new(OUTSIDE.v4().into(), port)).collect()
}

fn mirror(lab: &Lab, ports: u16) -> Mirror {
    Mirror::start(&lab.hosts.outside, &places(ports)).unwrap()
}

/// A line there and back, and as whom the mirror sees it.
fn asks(stream: &mut TcpStream) -> SocketAddr {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn r34_sixty_thousand_flows_to_ten_destinations_leave_by_one_vip() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(Some(8_192));
    let path = lab.write(&config).unwrap();
    let running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab, DESTINATIONS);
    let host = lab.instance("gw-1").unwrap();
    host.sysctl("net/ipv4/ip_local_port_range", "1024 65535").unwrap();
    has_ports(&lab, &path, "gw-1", VIP, 8_192);
    // Most are closed at once: whoever has so many files open needs a limit of its own, and a flow that ends keeps its port for minutes.
    let to = |n: usize| SocketAddr::new(OUTSIDE.v4().into(), 9000 + (n % usize::from(DESTINATIONS)) as u16);
    // Where this takes more than a minute, the host has a port anew towards the same destination: that is one flow.
    let mut flows = BTreeSet::new();
    let open = |n: usize| {
        let stream = TcpStream::connect_timeout(&to(n), PATIENCE).unwrap();
        flows.insert((stream.local_addr().unwrap(), to(n)));
        n.is_multiple_of(997).then_some(stream)
    };
    let mut kept: Vec<_> = host.enter(|| (0..FLOWS).filter_map(open).collect());
    assert!(flows.len() > FLOWS / 10 * 9, "{}", flows.len());
    for flow in &mut kept {
        assert_eq!(asks(flow).ip(), PUBLIC, "{}", running.balancer.log());
    }
    let all = || {
        let one = instance(&lab, &path, "gw-1");
        let top = one["snat"]["top"].as_array().cloned().unwrap_or_default();
        top.iter().filter_map(|one| one["flows"].as_u64()).sum::<u64>()
    };
    assert!(eventually(PATIENCE, || all() == flows.len() as u64), "{}, not {}", all(), flows.len());
    let one = instance(&lab, &path, "gw-1");
    assert_eq!(one["snat"]["failed"]["snat-port"].as_u64().unwrap_or_default(), 0, "{one}");
}

#[test]
fn r34_exhaustion_is_said_with_instance_and_destination_and_more_ports_end_it() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(Some(64));
    let path = lab.write(&config).unwrap();
    let mut running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab, 1);
    let host = lab.instance("gw-1").unwrap();
    has_ports(&lab, &path, "gw-1", VIP, 64);
    // Nobody leases more while the balancer stands still.
    running.balancer.signal(Signal::SIGSTOP).unwrap();
    let mut flows: Vec<_> = connect(host, 1, 64).into_iter().map(Result::unwrap).collect();
    let at = SocketAddr::new(OUTSIDE.v4().into(), 9000);
    let late = host.enter(|| TcpStream::connect_timeout(&at, Duration::from_millis(500)));
    assert!(late.is_err(), "there is no port for it");
    running.balancer.signal(Signal::SIGCONT).unwrap();
    let said = "gw-1: no SNAT port was left for ";
    assert!(eventually(PATIENCE, || running.balancer.log().contains(said)), "{}", running.balancer.log());
    assert!(running.balancer.log().contains(&format!("tcp {at}")), "{}", running.balancer.log());
    has_ports(&lab, &path, "gw-1", VIP, 128);
    flows.extend(connect(host, 1, 40).into_iter().map(Result::unwrap));
    flows.iter_mut().for_each(|flow| assert_eq!(asks(flow).ip(), PUBLIC));
    let recovered = || running.balancer.log().contains("gw-1: flows find SNAT ports again");
    assert!(eventually(PATIENCE, recovered), "{}", running.balancer.log());
    let top = &instance(&lab, &path, "gw-1")["snat"]["top"][0];
    assert_eq!((&top["destination"], &top["flows"]), (&at.to_string().into(), &104.into()), "{top}");
}

#[test]
fn r12_flows_go_on_while_balancer_and_proxy_are_killed_and_followed() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().snat(Some(256));
    let path = lab.write(&config).unwrap();
    let mut running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab, 1);
    let hosts: Vec<_> = lab.hosts.instances.iter().collect();
    hosts.iter().for_each(|host| has_ports(&lab, &path, host.name(), VIP, 256));
    let flows = hosts.iter().flat_map(|host| connect(host, 1, 50));
    let mut flows: Vec<_> = flows.map(Result::unwrap).collect();
    let before: Vec<_> = flows.iter_mut().map(asks).collect();
    let mut balancer = running.balancer;
    for round in 0..rounds(3) {
        if round % 2 == 0 {
            balancer.kill().unwrap();
        } else {
            balancer.leave().unwrap();
        }
        let meanwhile: Vec<_> = flows.iter_mut().map(asks).collect();
        assert_eq!(meanwhile, before, "the kernel goes on");
        balancer = lab.balance(&path).unwrap();
        let after: Vec<_> = flows.iter_mut().map(asks).collect();
        assert_eq!(after, before, "{}", balancer.log());
    }
    let next = lab.next_proxy(&path, "gw-1").unwrap();
    let mut first = running.proxies.remove("gw-1").unwrap();
    assert!(eventually(PATIENCE, || first.has_ended()), "{}", first.log());
    assert_eq!(flows.iter_mut().map(asks).collect::<Vec<_>>(), before, "{}", next.log());
    next.kill().unwrap();
    assert_eq!(flows.iter_mut().map(asks).collect::<Vec<_>>(), before);
    let again = lab.proxy(&path, "gw-1").unwrap();
    assert_eq!(flows.iter_mut().map(asks).collect::<Vec<_>>(), before, "{}", again.log());
    for stream in connect(hosts[0], 1, 10) {
        assert_eq!(asks(&mut stream.unwrap()).ip(), PUBLIC);
    }
}
