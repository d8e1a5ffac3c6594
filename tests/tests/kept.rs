//! R7, R12: what a balancer knows outlives its process, however that ends: who is gone, what was set at run time, which windows are
//! open. No flow moves.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{path::Path, time::Duration};

use lab::{
    address::PRIVATE, config::default_host, control, curl::Curl, lab::Lab, process::Process, service,
    wait::eventually,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(150);
const CHUNK: usize = 64 * 1024;
/// The last one is held until the end.
const CHUNKS: usize = 60;
const DOWNLOADS: usize = 12;
/// Of 20,000 buckets that move: those with downloads, and those that moved twice.
const FEW: u64 = 1_000;

fn status(lab: &Lab, config: &Path) -> Value {
    control::json(&lab.hosts.balancer, "status", config).unwrap()
}

/// What has to be the same for the next process; buckets and windows to the last one.
fn essence(status: &Value) -> Value {
    let instance = |one: &Value| {
        json!({
            "name": one["name"],
            // Who was up is taken for granted until it is probed.
            "health": one["health"]["state"].as_str().filter(|word| !["up", "unknown"].contains(word)),
            "admin_state": one["admin_state"],
            "override": one["override"],
            "share": one["share"],
            "buckets": one["buckets"],
            // To the minute: the clock may be set, and the end is told by the time since boot.
            "drain": one["drain"]["ends"].as_str().map(|text| text[..16].to_owned()),
            "dips": one["dips"].as_array().unwrap().iter().map(|dip| json!([dip["address"], dip["mac"]])).collect::<Vec<_>>(),
        })
    };
    json!({
        "generation": status["generation"],
        "instances": status["instances"].as_array().unwrap().iter().map(instance).collect::<Vec<_>>(),
        "vips": status["vips"],
        "windows": status["windows"]["buckets"],
    })
}

fn open(status: &Value) -> u64 {
    status["windows"]["buckets"].as_u64().unwrap()
}

fn downloads(lab: &Lab) -> Vec<Process> {
    let path = format!("/bytes/{}?pause=200&hold", CHUNKS * CHUNK);
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, &path).with(["--max-time", "3600"]);
    let all: Vec<_> = (0..DOWNLOADS).map(|_| lab.hosts.client.spawn(curl.command()).unwrap()).collect();
    for download in &all {
        assert!(eventually(PATIENCE, || download.stdout().len() > CHUNK));
    }
    all
}

#[test]
fn r12_who_is_gone_what_was_set_at_run_time_and_open_windows_outlive_the_process() {
    let lab = Lab::raise(3).unwrap();
    let mut config = lab.config().probed();
    config.probe.interval = Some("500ms".to_owned());
    config.probe.timeout = Some("500ms".to_owned());
    config.probe.fall = Some(4);
    // It is to have few buckets: one that changes hands twice stays open for minutes.
    config.instance[1].weight = 1;
    let mut running = lab.start(&config).unwrap();
    let path = lab.write(&config).unwrap();
    let health = |name: &str| {
        let status = status(&lab, &path);
        let one =
            status["instances"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        one["health"]["state"].as_str().unwrap().to_owned()
    };
    for name in ["gw-1", "gw-2", "gw-3"] {
        assert!(eventually(PATIENCE, || health(name) == "up"), "{}", running.balancer.log());
    }
    lab.instance("gw-2").unwrap().ip(["link set eth0 down"]).unwrap();
    assert!(eventually(PATIENCE, || health("gw-2") == "gone"), "{}", running.balancer.log());
    let downloads = downloads(&lab);
    let down = control::gateway(&lab.hosts.balancer, "instance down gw-3", &path).unwrap();
    assert!(down.ok(), "{}", down.stderr);
    // Windows that nothing lives in close; those with a download stay.
    let few = || (1..=FEW).contains(&open(&status(&lab, &path)));
    assert!(eventually(PATIENCE, few), "{}", running.balancer.log());
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        let before = essence(&status(&lab, &path));
        running.balancer.end(signal).unwrap();
        running.balancer = lab.balance(&path).unwrap();
        assert_eq!(essence(&status(&lab, &path)), before, "{signal}: {}", running.balancer.log());
        let answer =
            Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    lab.services.release();
    let expected: Vec<u8> = (0..(CHUNKS * CHUNK) as u64).map(service::pattern).collect();
    for mut download in downloads {
        let output = download.wait(PATIENCE).unwrap();
        assert!(output.ok() && output.stdout == expected, "{}: {} bytes", output.stderr, output.stdout.len());
    }
    // What was set at run time is taken back in the new process as it would have been in the old one.
    let auto = control::gateway(&lab.hosts.balancer, "instance auto gw-3", &path).unwrap();
    assert!(auto.ok(), "{}", auto.stderr);
    lab.instance("gw-2").unwrap().ip(["link set eth0 up"]).unwrap();
    for name in ["gw-2", "gw-3"] {
        assert!(eventually(PATIENCE, || health(name) == "up"), "{}", running.balancer.log());
    }
    let overridden =
        status(&lab, &path)["instances"].as_array().unwrap().iter().any(|one| !one["override"].is_null());
    assert!(!overridden);
}
