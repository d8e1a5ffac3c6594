//! R34: whose own flows use which ports, and who finds none, as the page has it while it happens.

use std::{net::SocketAddr, time::Duration};

use lab::{
    address::{OUTSIDE, PUBLIC},
    mirror::{Mirror, connections},
};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    browser::{axe, is_accessible, logged_in},
    site::Site,
};

/// For a connection that finds a port.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one that does not.
const SHORT: Duration = Duration::from_millis(500);

#[test]
fn r34_ports_and_destinations_are_seen_as_they_come_and_so_is_their_want() {
    let site = Site::up(|config| *config = config.clone().snat(Some(64)));
    let [often, seldom] = [9000, 9001].map(|port| SocketAddr::new(OUTSIDE.v4().into(), port));
    let _mirror = Mirror::start(&site.lab.hosts.outside, &[often, seldom]).unwrap();
    let browser = logged_in(&site, &site.read);
    let row = |number: u8| format!("table.snat tbody tr:nth-child({number})");
    let shows = |number, piece: &str| browser.shows(&row(number), piece).unwrap();
    browser.shows("#feed", "Live.").unwrap();
    for (number, name) in [(1, "gw-1"), (2, "gw-2")] {
        for piece in [name, &PUBLIC.to_string(), "0 of 64", "none", "nowhere"] {
            shows(number, piece);
        }
    }

    browser.run("window.here = true;").unwrap();
    let host = site.lab.instance("gw-1").unwrap();
    let open = |to, count| connections(host, &[to], count, PATIENCE).into_iter().map(Result::unwrap);
    let mut flows: Vec<_> = open(often, 40).chain(open(seldom, 10)).collect();
    for piece in [format!("tcp {often}"), format!("tcp {seldom}"), "40 flows".into(), "10 flows".into()] {
        shows(1, &piece);
    }
    shows(2, "0 of 64");

    // Nobody leases more while the balancer stands still.
    let balancer = Pid::from_raw(site.running.balancer.id().cast_signed());
    signal::kill(balancer, Signal::SIGSTOP).unwrap();
    while let Ok(flow) = connections(host, &[often], 1, SHORT).remove(0) {
        flows.push(flow);
        assert!(flows.len() < 1_000, "there is always a port");
    }
    signal::kill(balancer, Signal::SIGCONT).unwrap();
    for piece in ["found no port", "snat-port: no leased port is free towards this destination"] {
        shows(1, piece);
    }
    shows(2, "none");
    assert_eq!(browser.run("return window.here;").unwrap(), true, "the page was not loaded again");
    is_accessible(&browser, &axe(), "snat");
    assert_eq!(browser.complaints().unwrap(), [""; 0]);
}
