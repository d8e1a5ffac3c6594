//! A balancer with an inner and an outer interface (R14), and what `nat` sets up on both ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use lab::{
    address::{BALANCER, CLIENT, Mac, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, ROUTED, Station},
    config::default_host,
    curl::Curl,
    frame::{self, Packet, Tcp, protocol},
    host::Host,
    lab::Lab,
    snapshot::Snapshot,
    wait::eventually,
    wire::Wire,
};

/// Two interfaces: the lab's own inside, another one outside with a cable to a host of the internet.
fn two_sides(lab: &Lab) -> PathBuf {
    let outside = &lab.hosts.outside;
    let cable = format!("link add wan0 type veth peer name wan1 netns {}", outside.path());
    lab.hosts.balancer.ip([cable.as_str(), "link set wan0 up"]).unwrap();
    outside.ip(["link set wan1 up"]).unwrap();
    let mut config = lab.config();
    let balancer = &mut config.balancer;
    balancer.inside = std::mem::take(&mut balancer.interface);
    balancer.outside = "wan0".to_owned();
    lab.write(&config).unwrap()
}

fn nat(lab: &Lab) -> PathBuf {
    let mut config = lab.config();
    config.balancer.forwarding = "nat".to_owned();
    lab.write(&config).unwrap()
}

/// The addresses of an interface, of all scopes but the link's.
fn on(host: &Host, interface: &str) -> Vec<IpAddr> {
    let shown = host.must(&format!("ip -oneline address show dev {interface} scope global")).unwrap();
    let field = |line: &str| line.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok();
    shown.lines().filter_map(field).collect()
}

fn mac_of(host: &Host, interface: &str) -> Mac {
    let shown = host.must(&format!("ip -oneline link show dev {interface}")).unwrap();
    let (_, after) = shown.split_once("link/ether ").unwrap();
    let bytes = after.split(' ').next().unwrap().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn r14_each_interface_has_the_vips_of_its_side_and_the_program() {
    let lab = Lab::raise(1).unwrap();
    let path = two_sides(&lab);
    let balancer = &lab.hosts.balancer;
    let before = Snapshot::of(balancer).unwrap();
    let proxy = lab.proxy(&path, "gw-1").unwrap();
    let running = lab.balance(&path).unwrap();
    let (inside, outside) = (on(balancer, "eth0"), on(balancer, "wan0"));
    for (vip, is_public) in [
        (IpAddr::from(PRIVATE), false),
        (PRIVATE6.into(), false),
        (PUBLIC.into(), true),
        (PUBLIC6.into(), true),
    ] {
        assert_eq!((inside.contains(&vip), outside.contains(&vip)), (!is_public, is_public), "{vip}");
    }
    for interface in ["eth0", "wan0"] {
        assert!(
            balancer.must(&format!("ip link show dev {interface}")).unwrap().contains("xdp"),
            "{interface}"
        );
    }
    for vip in [IpAddr::from(PRIVATE), PRIVATE6.into()] {
        let answer = Curl::https(&lab, &default_host("gateway"), vip, "/").send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{vip}: {answer:?}\n{}", running.log());
    }
    drop((running, proxy));
    assert_eq!(Snapshot::of(balancer).unwrap().since(&before), [""; 0]);
}

#[test]
fn r14_what_comes_from_outside_for_the_private_vip_is_dropped_and_for_the_public_one_crosses() {
    let lab = Lab::raise(1).unwrap();
    let mut running = lab.balance(&two_sides(&lab)).unwrap();
    let from_outside = Wire::open(&lab.hosts.outside, "wan1").unwrap();
    let at_instance = Wire::open(&lab.hosts.instances[0], "eth0").unwrap();
    let mac = mac_of(&lab.hosts.balancer, "wan0");
    // An address from inside in both: what counts is the interface.
    let vips =
        [(IpAddr::from(PRIVATE), 443), (PRIVATE6.into(), 443), (PUBLIC.into(), 3443), (PUBLIC6.into(), 3443)];
    for (vip, port) in vips {
        let from = ROUTED.addresses()[usize::from(vip.is_ipv6())];
        let segment = Tcp::syn(40_000, port).segment(from, vip, b"");
        from_outside.send(&frame::packet(mac, OUTSIDE.mac(), from, vip, protocol::TCP, &segment)).unwrap();
    }
    let mut seen = Vec::new();
    let crossed = eventually(Duration::from_secs(5), || {
        seen.extend(at_instance.arrived(Packet::parse).unwrap().into_iter().map(|packet| packet.to));
        [IpAddr::from(PUBLIC), PUBLIC6.into()].iter().all(|vip| seen.contains(vip))
    });
    assert!(crossed, "{seen:?}\n{}", running.log());
    assert!(!seen.contains(&PRIVATE.into()) && !seen.contains(&PRIVATE6.into()), "{seen:?}");
    assert_eq!(lab.counters(&mut running).unwrap().dropped("interface"), 2);
}

#[test]
fn an_interface_that_is_taken_away_is_served_once_it_is_back_and_the_other_meanwhile() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let lab = Lab::raise(1).unwrap();
    let path = two_sides(&lab);
    let mut running = lab.balance(&path).unwrap();
    let host = &lab.hosts.balancer;
    let is_guarded =
        |interface: &str| host.must(&format!("ip link show dev {interface}")).unwrap().contains("prog/xdp");
    let (inner, outer) = ([IpAddr::from(PRIVATE), PRIVATE6.into()], [IpAddr::from(PUBLIC), PUBLIC6.into()]);
    let has = |interface: &str, vips: &[IpAddr]| vips.iter().all(|vip| on(host, interface).contains(vip));
    assert!(has("eth0", &inner) && has("wan0", &outer));
    host.ip(["link delete wan0"]).unwrap();
    let said = || running.log().contains("the interface wan0 is gone");
    assert!(eventually(PATIENCE, said), "{}", running.log());
    assert!(has("eth0", &inner) && is_guarded("eth0"), "{}", running.log());
    let cable = format!("link add wan0 type veth peer name wan1 netns {}", lab.hosts.outside.path());
    host.ip([cable.as_str()]).unwrap();
    lab.hosts.outside.ip(["link set wan1 up"]).unwrap();
    // Not before it is up, and then the program first.
    host.ip(["link set wan0 up"]).unwrap();
    assert!(eventually(PATIENCE, || has("wan0", &outer)), "{}", running.log());
    assert!(is_guarded("wan0") && has("eth0", &inner) && is_guarded("eth0"), "{}", running.log());
    assert!(running.ended().unwrap().is_none());
    assert!(running.stop().unwrap().ok());
    let is_left = |interface: &str, vips: &[IpAddr]| vips.iter().any(|vip| on(host, interface).contains(vip));
    assert!(
        !is_left("wan0", &outer) && !is_left("eth0", &inner) && !is_guarded("eth0") && !is_guarded("wan0")
    );
}

#[test]
fn with_nat_instances_listen_for_each_vip_and_answer_through_the_balancer() {
    let lab = Lab::raise(1).unwrap();
    let path = nat(&lab);
    let instance = &lab.hosts.instances[0];
    let before = Snapshot::of(instance).unwrap();
    let proxy = lab.proxy(&path, "gw-1").unwrap();
    for (dip, (balancer, client)) in Station::instance(1)
        .addresses()
        .into_iter()
        .zip(BALANCER.addresses().into_iter().zip(CLIENT.addresses()))
    {
        let get = |role: &str, port| {
            let curl = Curl::new(&lab, "https", &default_host(role), SocketAddr::new(dip, port), "/");
            curl.send(&lab.hosts.balancer).unwrap()
        };
        for (role, port, expected) in [
            ("gateway", 10_443, 200),
            ("management", 10_443, 200),
            ("management", 13_443, 200),
            ("management", 23_443, 200),
            // R20(d): no other name on the public VIP's port.
            ("gateway", 23_443, 0),
        ] {
            let answer = get(role, port);
            assert_eq!(answer.status, expected, "{role} at {dip}:{port}: {answer:?}\n{}", proxy.log());
        }
        let way = |port: u16| {
            instance
                .must(&format!("ip route get {client} from {dip} ipproto 6 sport {port} dport 50000"))
                .unwrap()
        };
        for port in [10_443, 10_080, 13_443, 23_443] {
            assert!(way(port).contains(&format!("via {balancer} dev eth0")), "{}", way(port));
        }
        assert!(!way(8080).contains("via"), "{}", way(8080));
    }
    drop(proxy);
    assert_eq!(Snapshot::of(instance).unwrap().since(&before), [""; 0]);
}

#[test]
fn with_nat_the_balancers_host_routes_while_it_runs() {
    let lab = Lab::raise(1).unwrap();
    let balancer = &lab.hosts.balancer;
    let settings = ["ipv4/conf/eth0/forwarding", "ipv4/conf/eth0/accept_local", "ipv6/conf/all/forwarding"];
    let values =
        || settings.map(|key| balancer.must(&format!("cat /proc/sys/net/{key}")).unwrap().trim().to_owned());
    let before = Snapshot::of(balancer).unwrap();
    assert_eq!(values(), ["0"; 3]);
    let running = lab.balance(&nat(&lab)).unwrap();
    assert_eq!(values(), ["1"; 3]);
    drop(running);
    assert_eq!(values(), ["0"; 3]);
    assert_eq!(Snapshot::of(balancer).unwrap().since(&before), [""; 0]);
}
