//! R63: `gateway explain` at a running balancer tells beforehand what becomes of a packet and a request.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeSet, path::Path, process::Command};

use lab::{
    address::{CLIENT, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC},
    config::{Route, default_host},
    curl::Curl,
    flows::instance_of,
    gateway::binary,
    host::Host,
    lab::Lab,
    mode::Mode,
    process::Output,
    service::Seen,
};
use serde_json::Value;

fn run(host: &Host, line: &str) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.arg("explain").args(line.split_whitespace());
    host.run_command(command).unwrap()
}

fn explain(host: &Host, line: &str) -> Value {
    let output = run(host, &format!("{line} --json"));
    assert!(output.ok(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn r63_explain_names_the_instance_and_upstream_that_then_serve() {
    let lab = Lab::raise(3).unwrap();
    let _running = lab.start(&lab.config()).unwrap();
    let (balancer, client) = (&lab.hosts.balancer, &lab.hosts.client);
    let name = default_host("gateway");
    let mut owners = BTreeSet::new();
    for port in 41_000..41_012 {
        let (from, to) = match port % 2 {
            0 => (format!("{}:{port}", CLIENT.v4()), format!("{PRIVATE}:443")),
            _ => (format!("[{}]:{port}", CLIENT.v6()), format!("[{PRIVATE6}]:443")),
        };
        let told = explain(balancer, &format!("--from {from} --to {to} --host {name} --path /orders/1"));
        assert_eq!(
            (&told["verdict"], &told["tables"]["source"]),
            (&"forward".into(), &"live".into()),
            "{told}"
        );
        assert_eq!(told["request"]["outcome"], "forward", "{told}");
        let owner = told["instance"]["name"].as_str().unwrap().to_owned();
        // The command that it gives is the very flow: the same source port.
        let line = told["curl"].as_str().unwrap();
        let mut curl = Command::new("curl");
        curl.args(line.split_whitespace().skip(1)).args(["--silent", "--fail", "--cacert"]);
        curl.arg(lab.authority.root());
        let output = client.run_command(curl).unwrap();
        assert!(output.ok(), "{line}: {output:?}");
        let seen: Seen = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(instance_of(&lab, seen.peer), owner, "{told}");
        let upstream = told["request"]["upstreams"][0].as_str().unwrap();
        let route = Route::to(told["request"]["route"].as_str().unwrap(), &seen.service);
        assert_eq!(route.upstream[0], upstream, "{told}: {seen:?}");
        owners.insert(owner);
    }
    assert!(owners.len() > 1, "twelve flows at {owners:?} alone");
}

#[test]
fn r63_what_explain_says_is_dropped_is_dropped_for_that_reason() {
    let lab = Lab::raise(1).unwrap();
    let mut running = lab.start(&lab.config()).unwrap();
    let balancer = &lab.hosts.balancer;
    let question = format!("--from {}:40000 --to {PUBLIC}:443", OUTSIDE.v4());
    let told = explain(balancer, &question);
    assert_eq!((&told["verdict"], &told["reason"]["name"]), (&"drop".into(), &"no-service".into()), "{told}");
    assert_eq!(told["reason"]["counted_at"], PUBLIC.to_string(), "{told}");
    let request = Curl::https(&lab, &default_host("gateway"), PUBLIC, "/").with(["--connect-timeout", "2"]);
    assert_eq!(request.send(&lab.hosts.outside).unwrap().exit, 28);
    let counters = lab.counters(&mut running.balancer).unwrap();
    assert!(counters.dropped("no-service") > 0, "{counters:?}");

    let text = run(balancer, &question).text();
    assert!(text.contains("drop  dropped (no-service)") && text.contains("by design"), "{text}");
    let pass = explain(balancer, &format!("--from {}:40000 --to 10.0.0.77:443", CLIENT.v4()));
    assert_eq!(pass["verdict"], "pass", "{pass}");
    let ping = explain(balancer, &format!("--from {} --to {PRIVATE} --proto icmp", CLIENT.v4()));
    assert_eq!(ping["verdict"], "answer", "{ping}");
    let outside = explain(balancer, &format!("--from {}:40000 --to {PRIVATE}:443", OUTSIDE.v4()));
    assert_eq!(outside["reason"]["name"], "source", "{outside}");
}

#[test]
fn r63_names_that_are_not_served_are_refused_as_the_proxy_refuses_them() {
    let lab = Lab::raise(1).unwrap();
    let _running = lab.start(&lab.config()).unwrap();
    let balancer = &lab.hosts.balancer;
    let (gateway, management) = (default_host("gateway"), default_host("management"));
    let ask = |to: &str, more: &str| {
        explain(balancer, &format!("--from {}:40000 --to {to} {more}", CLIENT.v4()))["request"].clone()
    };
    let https = format!("{PRIVATE}:443");
    for (to, more, outcome, exit, status) in [
        (https.clone(), "--host nobody.example".to_owned(), "name-refused", 35, 0),
        (format!("{PRIVATE}:3443"), format!("--host {gateway}"), "name-refused", 35, 0),
        (https.clone(), format!("--host {management} --sni {gateway}"), "misdirected", 0, 421),
        (format!("{PRIVATE}:80"), format!("--host {gateway} --path /a?b"), "redirect", 0, 308),
        (https, format!("--host {gateway} --path /status-0123456789abcdef"), "status", 0, 200),
    ] {
        let request = ask(&to, &more);
        assert_eq!(request["outcome"], outcome, "{to} {more}: {request}");
        let words: Vec<_> = more.split(' ').collect();
        let value = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
        let host = value("--host").unwrap();
        let scheme = if to.ends_with(":80") { "http" } else { "https" };
        let connect = value("--sni").unwrap_or(host);
        let path = value("--path").unwrap_or("/");
        let curl = Curl::new(&lab, scheme, connect, to.parse().unwrap(), path);
        let answer = curl.with(["--header", &format!("Host: {host}")]).send(&lab.hosts.client).unwrap();
        assert_eq!((answer.exit, answer.status), (exit, status), "{to} {more}: {answer:?}");
        if let Some(location) = request["location"].as_str() {
            assert_eq!(answer.header("location"), Some(location));
        }
    }
}

#[test]
fn r63_a_file_is_explained_without_a_balancer_and_a_tunnels_bytes_are_told() {
    let lab = Lab::raise(2).unwrap();
    let client = &lab.hosts.client;
    let from_file = |file: &Path, line: &str| {
        explain(
            client,
            &format!("--from {}:40000 --to {PRIVATE}:443 --config {} {line}", CLIENT.v4(), file.display()),
        )
    };
    let file = lab.write(&lab.config().forwarding(Mode::Ipip4)).unwrap();
    let told = from_file(&file, "--size 1480 --flags ack");
    assert_eq!((&told["verdict"], &told["tables"]["source"]), (&"forward".into(), &"file".into()), "{told}");
    let instance = &told["instance"];
    assert_eq!((&instance["bytes_added"], &instance["mtu"]), (&20.into(), &1500.into()), "{told}");
    let told = from_file(&file, "--size 1481 --flags ack");
    assert_eq!(
        (&told["reason"]["name"], &told["reason"]["sender_is_told"]),
        (&"too-big".into(), &true.into()),
        "{told}"
    );
    let output = run(client, &format!("--from {}:40000 --to {PRIVATE}:443", CLIENT.v4()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("--config FILE"), "{}", output.stderr);
}
