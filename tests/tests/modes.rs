//! The whole service in every forwarding mode, with real clients: R11, R13, R14, R20, R25, R30, R73, and R93's way back.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lab::{
    address::{CLIENT, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, ROUTED, Station},
    config::default_host,
    curl::{Answer, Curl},
    damage::{self, Damage},
    flows,
    frame::{self, Tcp, flag, protocol},
    host::Host,
    inject::Injector,
    lab::{Lab, ROLES, Running},
    mode::Mode,
    snapshot::Snapshot,
    transfer::Body,
    wait::eventually,
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];
/// R70's.
const LARGE: u64 = 20_000_000;
/// Some hundred segments in each direction.
const SMALL: u64 = 2_000_000;

fn address(station: Station, vip: IpAddr) -> IpAddr {
    station.addresses()[usize::from(vip.is_ipv6())]
}

/// The state of the hosts where gateway runs.
fn hosts(lab: &Lab) -> Vec<(String, Snapshot)> {
    let hosts = std::iter::once(&lab.hosts.balancer).chain(&lab.hosts.instances);
    hosts.map(|host| (host.name().to_owned(), Snapshot::of(host).unwrap())).collect()
}

/// What any host's stack found broken until now.
fn damage(lab: &Lab) -> Vec<(String, Damage)> {
    let all = lab.hosts.all().map(|host| (host.name().to_owned(), damage::of(host).unwrap()));
    all.filter(|(_, damage)| !damage.is_empty()).collect()
}

/// That the service of this role answered, was told who asks, and was asked by an instance.
fn is_by(lab: &Lab, answer: &Answer, role: &str, client: IpAddr) {
    let seen = answer.seen().unwrap();
    assert_eq!((answer.status, seen.service.as_str()), (200, role));
    assert_eq!(seen.header("x-forwarded-for"), [client.to_string()]);
    let instance = flows::instance_of(lab, seen.peer);
    assert!(lab.hosts.instances.iter().any(|host| host.name() == instance), "{instance}");
}

fn every_role(lab: &Lab) {
    for vip in VIPS {
        for (from, station) in [(&lab.hosts.client, CLIENT), (&lab.hosts.routed, ROUTED)] {
            for role in ROLES {
                let answer = Curl::https(lab, &default_host(role), vip, "/").send(from).unwrap();
                is_by(lab, &answer, role, address(station, vip));
            }
        }
        let ping = lab.hosts.routed.must(&format!("ping -n -c 1 -W 5 {vip}"));
        assert!(ping.is_ok(), "{ping:?}");
        let at = |port| SocketAddr::new(vip, port);
        let redirect = Curl::new(lab, "http", &default_host("portal"), at(80), "/").send(&lab.hosts.client);
        assert_eq!(redirect.unwrap().status, 308, "{vip}");
        let management = Curl::new(lab, "https", &default_host("management"), at(3443), "/");
        is_by(lab, &management.send(&lab.hosts.routed).unwrap(), "management", address(ROUTED, vip));
    }
}

/// R20 (c), (d)
fn from_outside(lab: &Lab) {
    for vip in [IpAddr::from(PUBLIC), PUBLIC6.into()] {
        let ask = |role: &str| {
            let at = SocketAddr::new(vip, 3443);
            Curl::new(lab, "https", &default_host(role), at, "/").send(&lab.hosts.outside).unwrap()
        };
        is_by(lab, &ask("management"), "management", address(OUTSIDE, vip));
        assert_eq!((ask("gateway").status, ask("gateway").exit), (0, 35), "{vip}");
    }
}

/// Both instances serve, and no real client's packet is dropped.
fn all_of_it(lab: &Lab, running: &mut Running) {
    every_role(lab);
    from_outside(lab);
    let (large, small) = (Body::new(lab, LARGE).unwrap(), Body::new(lab, SMALL).unwrap());
    for vip in VIPS {
        large.there_and_back(lab, &lab.hosts.client, vip).unwrap();
        small.there_and_back(lab, &lab.hosts.routed, vip).unwrap();
        let spread = flows::spread(lab, &lab.hosts.client, &default_host("gateway"), vip, 443, 40).unwrap();
        assert_eq!(spread.keys().collect::<Vec<_>>(), ["gw-1", "gw-2"], "{vip}: {spread:?}");
    }
    let counters = lab.counters(&mut running.balancer).unwrap();
    assert_eq!(counters.dropped_in_all(), 0, "{:?}\n{}", counters.drops, running.balancer.log());
}

fn serves_and_leaves(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let before = hosts(&lab);
    let mut running = lab.start(&lab.config().probed().forwarding(mode)).unwrap();
    all_of_it(&lab, &mut running);
    assert_eq!(damage(&lab), []);
    drop(running);
    for ((name, before), (_, after)) in before.iter().zip(hosts(&lab)) {
        assert_eq!(after.since(before), [""; 0], "{name}");
    }
}

#[test]
fn l2_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::L2);
}

#[test]
fn nat_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::Nat);
}

#[test]
fn ipip_over_ipv4_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::Ipip4);
}

#[test]
fn ipip_over_ipv6_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::Ipip6);
}

#[test]
fn gue_over_ipv4_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::Gue4);
}

#[test]
fn gue_over_ipv6_serves_real_clients_and_leaves_nothing() {
    serves_and_leaves(Mode::Gue6);
}

/// Every time, not only when the ring happens to point back.
fn hairpin(lab: &Lab, from: &Host) {
    for vip in VIPS {
        let spread = flows::spread(lab, from, &default_host("gateway"), vip, 443, 20);
        let spread = spread.unwrap_or_else(|error| panic!("{} to {vip}: {error}", from.name()));
        let instances: BTreeSet<_> = lab.hosts.instances.iter().map(Host::name).collect();
        assert!(spread.keys().all(|name| instances.contains(name.as_str())), "{spread:?}");
    }
}

fn answers_its_instances(mode: Mode) {
    for instances in [1, 3] {
        let lab = Lab::raise(instances).unwrap();
        let _running = lab.start(&lab.config().probed().forwarding(mode)).unwrap();
        lab.hosts.instances.iter().for_each(|host| hairpin(&lab, host));
    }
}

#[test]
fn r25_with_ipip_an_instance_gets_an_answer_from_the_vip_it_serves() {
    answers_its_instances(Mode::Ipip4);
}

#[test]
fn r25_with_gue_an_instance_gets_an_answer_from_the_vip_it_serves() {
    answers_its_instances(Mode::Gue4);
}

#[test]
fn r25_with_nat_an_instance_gets_an_answer_from_the_vip_it_serves() {
    answers_its_instances(Mode::Nat);
}

/// What the tests above rely on when they find no damage.
#[test]
fn a_segment_with_a_wrong_checksum_is_counted_by_the_instance() {
    let lab = Lab::raise(1).unwrap();
    let _running = lab.start(&lab.config().probed()).unwrap();
    let injector = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let instance = &lab.hosts.instances[0];
    for vip in VIPS {
        let from = address(CLIENT, vip);
        let mut segment = Tcp { flags: flag::ACK, ..Tcp::syn(40_000, 443) }.segment(from, vip, b"lab");
        segment[20] ^= 1;
        let frame = frame::packet(injector.next_hop, CLIENT.mac(), from, vip, protocol::TCP, &segment);
        let so_many = || damage::of(instance).unwrap().get("Tcp InCsumErrors").copied().unwrap_or(0);
        let before = so_many();
        injector.send([frame]).unwrap();
        assert!(eventually(std::time::Duration::from_secs(5), || so_many() > before), "{vip}");
    }
}
