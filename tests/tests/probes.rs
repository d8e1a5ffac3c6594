//! R81, R82, R83: instances are probed, and what follows for new flows and for established ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use lab::{
    address::{PRIVATE, Station},
    config::{Config, default_host},
    curl::Curl,
    flows,
    gateway::Gateway,
    host::Host,
    lab::{Lab, Running},
    process::Process,
    wait::eventually,
};

/// For what takes a second when nobody else uses the machine.
const SOON: Duration = Duration::from_secs(30);

/// Probes in quick succession. A probe that fails only because the machine is busy must not matter: it takes four in a row.
fn quick(mut config: Config) -> Config {
    config = config.probed();
    config.probe.interval = Some("100ms".to_owned());
    config.probe.timeout = Some("100ms".to_owned());
    config.probe.fall = Some(4);
    config
}

/// The instances that new flows reach.
fn taking(lab: &Lab) -> BTreeSet<String> {
    let spread =
        flows::spread(lab, &lab.hosts.client, &default_host("gateway"), PRIVATE.into(), 443, 60).unwrap();
    spread.into_keys().collect()
}

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until the balancer has said so.
#[track_caller]
fn says(balancer: &Gateway, text: &str) {
    assert!(eventually(SOON, || balancer.log().contains(text)), "not said: {text}\n{}", balancer.log());
}

fn times(balancer: &Gateway, text: &str) -> usize {
    balancer.log().matches(text).count()
}

/// Long, slow downloads through the VIP.
fn downloads(lab: &Lab, count: usize) -> Vec<Process> {
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, "/bytes/3276800?pause=100");
    let mut started: Vec<_> = (0..count).map(|_| lab.hosts.client.spawn(curl.command()).unwrap()).collect();
    for download in &mut started {
        assert!(eventually(SOON, || download.stdout().len() > 64 * 1024), "{}", download.stderr());
    }
    started
}

#[test]
fn r81_r82_a_stopped_proxy_gets_no_new_flows_transfers_elsewhere_go_on_and_it_comes_back() {
    let lab = Lab::raise(3).unwrap();
    let config = quick(lab.config());
    let Running { balancer, mut proxies } = lab.start(&config).unwrap();
    assert_eq!(taking(&lab), named(&["gw-1", "gw-2", "gw-3"]));
    let during = downloads(&lab, 9);
    let hit = proxies.remove("gw-2").unwrap();
    let stopping = thread::spawn(move || hit.stop());
    says(&balancer, "gw-2 is down: 4 probes in a row failed: connection refused (10.0.0.12:8080)");
    assert_eq!(taking(&lab), named(&["gw-1", "gw-3"]));
    for mut download in during {
        let output = download.wait(SOON).unwrap();
        // Those of the stopped one end with it, whole or not.
        assert!(
            output.ok() || output.stderr.contains("(56)") || output.stderr.contains("(18)"),
            "{output:?}"
        );
    }
    stopping.join().unwrap().unwrap();
    let again = lab.proxy(&lab.write(&config).unwrap(), "gw-2").unwrap();
    says(&balancer, "gw-2 is up: 2 probes in a row succeeded (10.0.0.12:8080)");
    assert_eq!(taking(&lab), named(&["gw-1", "gw-2", "gw-3"]));
    assert_eq!(times(&balancer, "gw-2 is down"), 1, "it is said once");
    drop(again);
}
