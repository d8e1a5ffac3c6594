//! slowhttptest: a thousand clients that are slow on purpose, over TLS, while others are served.

use std::{
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};

use lab::{address::PRIVATE, config::default_host, curl::Curl, lab::Lab};

use crate::names::resolving;

const VIP: IpAddr = IpAddr::V4(PRIVATE);
/// How many of them.
const CONNECTIONS: &str = "1000";
/// A request of somebody else.
const SOON: Duration = Duration::from_secs(5);

/// Runs it for so long, and returns what it said at the end, without colours.
fn attack(seconds: &str, mode: &[&str], path: &str) -> String {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    // slowhttptest names nobody in its handshake.
    "default-certificate".clone_into(&mut config.proxy.no_sni);
    let _running = lab.start(&config).unwrap();
    let name = default_host("gateway");
    let mut tool = Command::new("slowhttptest");
    tool.args(["-c", CONNECTIONS, "-r", "500", "-l", seconds, "-i", "3", "-p", "5"]).args(mode);
    tool.args(["-u", &format!("https://{name}{path}")]);
    let mut attack = lab.hosts.client.spawn(resolving(&lab, &name, VIP, &tool)).unwrap();
    let mut served = 0;
    while attack.ended().unwrap().is_none() {
        let began = Instant::now();
        // Another upstream's: what the attack asks for may be too much for the first.
        let answer = Curl::https(&lab, &name, VIP, "/orders").send(&lab.hosts.routed).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        served += 1;
    }
    assert!(served > 5, "{served} requests of others");
    let said = plain(&attack.wait(Duration::from_secs(1)).unwrap().text());
    // It asks now and then by itself, too.
    assert!(said.contains("service available:   YES") && !said.contains("service available:   NO"), "{said}");
    said
}

/// Without the sequences that colour a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

#[test]
fn slow_headers_end_by_the_heads_time_and_others_are_served() {
    let said = attack("60", &["-H"], "/");
    assert!(said.contains("No open connections left"), "all were closed before the end:\n{said}");
}

#[test]
fn slow_bodies_keep_nobody_else_waiting() {
    attack("15", &["-B", "-s", "8192"], "/sink");
}

#[test]
fn a_thousand_ranges_each_keep_nobody_else_waiting() {
    attack("15", &["-R", "-a", "1", "-b", "1000"], "/bytes/4096");
}

#[test]
fn slow_readers_keep_nobody_else_waiting() {
    attack("15", &["-X", "-w", "1", "-y", "64", "-n", "3", "-z", "8", "-k", "1"], "/bytes/100000");
}
