//! R82, R83: who gets new flows.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use lab::{
    address::{CLIENT, PRIVATE},
    frame::flag,
    inject::Injector,
    probed::{Answer, Answerer},
    segments::{Arrivals, Service},
};

use super::{PORT, Probed, SOON, eventually, named, says, says_again};

/// Whether a new connection to the VIP comes about, for a client with little patience.
fn is_served(probed: &Probed) -> bool {
    let at = SocketAddr::new(PRIVATE.into(), 80);
    probed
        .lab
        .hosts
        .client
        .enter(|| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(700)).is_ok())
}

#[test]
fn r82_where_all_are_down_new_flows_are_refused_or_spread_as_if_all_were_up() {
    let mut probed = Probed::up(2, |_| ());
    for name in ["gw-1", "gw-2"] {
        probed.answer(name, Answer::Status(500));
    }
    says(&probed.balancer, "no instance is in service: new flows are dropped (`probe.all_down`)");
    assert!(!is_served(&probed));
    probed.config.probe.all_down = Some("all-up".to_owned());
    probed.lab.write(&probed.config).unwrap();
    probed.balancer.reload().unwrap();
    says(&probed.balancer, "no instance is in service: all count as up all the same");
    assert_eq!(probed.taking(), named(&["gw-1", "gw-2"]));
    probed.answer("gw-1", Answer::Status(200));
    says(&probed.balancer, "the probes decide who is in service");
    assert_eq!(probed.taking(), named(&["gw-1"]));
}

#[test]
fn where_most_are_down_at_once_the_probes_are_not_believed() {
    let probed = Probed::up(3, |config| config.probe.panic = Some(50));
    probed.answer("gw-1", Answer::Status(500));
    says(&probed.balancer, "gw-1 is down");
    assert_eq!(probed.taking(), named(&["gw-2", "gw-3"]), "a third is not most");
    probed.answer("gw-2", Answer::Status(500));
    says(&probed.balancer, "2 of 3 probed instances are down, more than `probe.panic` allows");
    assert_eq!(probed.taking(), named(&["gw-1", "gw-2", "gw-3"]));
    probed.answer("gw-1", Answer::Status(200));
    says(&probed.balancer, "the probes decide who is in service");
    assert_eq!(probed.taking(), named(&["gw-1", "gw-3"]));
}

#[test]
fn r83_an_admin_state_goes_before_the_probe() {
    let mut probed = Probed::up(3, |config| "up".clone_into(&mut config.instance[0].admin_state));
    for name in ["gw-1", "gw-2"] {
        probed.answer(name, Answer::Status(500));
        says(&probed.balancer, &format!("{name} is down"));
    }
    assert_eq!(probed.taking(), named(&["gw-1", "gw-3"]));
    "down".clone_into(&mut probed.config.instance[2].admin_state);
    probed.lab.write(&probed.config).unwrap();
    probed.balancer.reload().unwrap();
    assert_eq!(probed.taking(), named(&["gw-1"]));
}

#[test]
fn who_flaps_takes_longer_and_longer_to_come_back() {
    let probed = Probed::up(2, |config| config.probe.fall = Some(3));
    for (round, rise) in [(1, 2), (2, 4), (3, 8)] {
        probed.answer("gw-2", Answer::Status(500));
        says_again(&probed.balancer, "gw-2 is down", round);
        probed.answer("gw-2", Answer::Status(200));
        says(&probed.balancer, &format!("gw-2 is up: {rise} probes in a row succeeded"));
        says_again(&probed.balancer, "gw-2 is up", round + 1);
    }
    says(&probed.balancer, "it goes up and down, so it takes 8 good ones now to be up again");
}

#[test]
fn an_instance_that_is_added_waits_for_its_first_good_answers() {
    let mut probed = Probed::up(2, |config| config.instance.truncate(2));
    let new = probed.lab.hosts.instances[1].name().to_owned();
    let all = probed.config.clone();
    probed.config.instance.truncate(1);
    probed.lab.write(&probed.config).unwrap();
    probed.balancer.reload().unwrap();
    assert_eq!(probed.taking(), named(&["gw-1"]));
    // It is not well when it comes.
    probed.answer(&new, Answer::Status(500));
    probed.lab.write(&all).unwrap();
    probed.balancer.reload().unwrap();
    says(&probed.balancer, "gw-2 is down: 4 probes in a row failed: status 500");
    assert_eq!(probed.taking(), named(&["gw-1"]));
    probed.answer(&new, Answer::Status(200));
    says_again(&probed.balancer, "gw-2 is up", 2);
    assert_eq!(probed.taking(), named(&["gw-1", "gw-2"]));
}

/// By bare segments to instances that are only wires: thousands of flows in a moment.
#[test]
fn a_returning_instance_comes_to_its_share_in_steps() {
    const FLOWS: usize = 2_000;
    let lab = lab::lab::Lab::raise(2).unwrap();
    let mut config = super::quick(lab.config());
    config.probe.port = Some(PORT);
    config.probe.slow_start = Some("14s".to_owned());
    let answerers =
        [0, 1].map(|at| Answerer::start(&lab.hosts.instances[at], PORT, Answer::Status(200)).unwrap());
    let balancer = lab.balance(&lab.write(&config).unwrap()).unwrap();
    let injector = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let arrivals = Arrivals::listen(&lab).unwrap();
    let service = Service { vip: PRIVATE.into(), port: 443 };
    let mut source = Ipv4Addr::new(10, 0, 7, 0);
    // In per cent, by flows from an address that had none before.
    let mut share = || {
        source = Ipv4Addr::from_bits(source.to_bits() + 1);
        let segment = |port| service.segment(&injector, (source.into(), port), flag::SYN, b"");
        injector.send((1_000..).take(FLOWS).map(segment)).unwrap();
        let owners = arrivals.expect(service, FLOWS).unwrap().owners().unwrap();
        owners.get("gw-2").copied().unwrap_or_default() * 100 / FLOWS
    };
    says(&balancer, "gw-2 is up");
    assert!(share().abs_diff(50) < 5, "nobody starts slowly when the balancer does");
    answerers[1].set(Answer::Status(500));
    says(&balancer, "gw-2 is down");
    assert_eq!(share(), 0);
    answerers[1].set(Answer::Status(200));
    says_again(&balancer, "gw-2 is up", 2);
    let mut seen = vec![share()];
    assert!(seen[0] < 35, "{seen:?}");
    let full = || {
        seen.push(share());
        seen.last().is_some_and(|share| share.abs_diff(50) < 5)
    };
    assert!(eventually(SOON, full), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[1] + 4 >= pair[0]), "it only grows: {seen:?}");
}

/// R81: hundreds at once, and no probe late: what came in the time is what was due.
#[test]
fn r81_hundreds_of_instances_are_probed_at_once_without_drift() {
    let load =
        lab::probe_load::measure(500, "http", Duration::from_secs(2), Duration::from_secs(10)).unwrap();
    println!("{load:?}");
    let due = 500.0 * load.seconds / 2.0;
    assert!((load.probes as f64 - due).abs() < due / 20.0, "{due} were due: {load:?}");
}
