//! R6, R7, R12, R93: a balancer that is killed, stopped, started again or upgraded loses no packet and no flow; what it leaves is
//! taken away by `gateway detach`.
//!
//! `GATEWAY_ROUNDS` chooses how often.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "restart/faults.rs"]
mod faults;
#[path = "restart/kernel.rs"]
mod kernel;
#[path = "restart/next.rs"]
mod next;

use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

use kernel::Tables;
use lab::{
    address::PRIVATE,
    config::default_host,
    curl::Curl,
    gateway::{Gateway, gateway},
    lab::Lab,
    process::Process,
    service,
    snapshot::Snapshot,
    wait,
};
use nix::sys::signal::Signal;

/// Of one download: as much as the service sends while the rounds last.
const CHUNK: usize = 64 * 1024;

fn rounds(default: usize) -> usize {
    env::var("GATEWAY_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Starts the balancer with another kernel object.
fn balance(lab: &Lab, config: &Path, object: Option<&Path>) -> Gateway {
    let mut command = gateway("balance").unwrap();
    command
        .arg("--config")
        .arg(config)
        .args(object.map(|path| [Path::new("--object"), path]).into_iter().flatten());
    Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap()
}

/// The tables, once all instances are resolved and nothing is left to be learnt.
fn settled(lab: &Lab) -> Tables {
    let tables = Tables::of(&lab.hosts.balancer).unwrap();
    let is_settled = || !format!("{:?}", tables.active()).contains("\"way\":null");
    assert!(wait::eventually(Duration::from_secs(30), is_settled), "{:?}", tables.active());
    tables
}

fn detach(lab: &Lab, config: &Path) -> lab::process::Output {
    let mut command = gateway("detach").unwrap();
    command.arg("--config").arg(config);
    lab.hosts.balancer.run_command(command).unwrap()
}

fn downloads(lab: &Lab, count: usize, chunks: usize) -> Vec<Process> {
    let path = format!("/bytes/{}?pause=200", chunks * CHUNK);
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, &path).with(["--max-time", "3600"]);
    let mut running: Vec<_> = (0..count).map(|_| lab.hosts.client.spawn(curl.command()).unwrap()).collect();
    for download in &mut running {
        assert!(wait::eventually(Duration::from_secs(30), || download.stdout().len() > 2 * CHUNK));
    }
    running
}

fn are_whole(downloads: Vec<Process>, chunks: usize) {
    let expected: Vec<u8> = (0..(chunks * CHUNK) as u64).map(service::pattern).collect();
    for mut download in downloads {
        let output = download.wait(Duration::from_secs(3600)).unwrap();
        assert!(output.ok(), "{}: {}", output.status, output.stderr);
        assert!(
            output.stdout == expected,
            "{} of {} bytes, not those sent",
            output.stdout.len(),
            expected.len()
        );
    }
}

#[test]
fn r12_downloads_go_on_while_the_balancer_is_killed_stopped_and_started_again() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    let _proxies = ["gw-1", "gw-2"].map(|name| lab.proxy(&config, name).unwrap());
    let before = Snapshot::of(&lab.hosts.balancer).unwrap();
    let mut balancer = balance(&lab, &config, None);
    let rounds = rounds(4);
    // A start takes some seconds on a busy machine; the downloads shall last longer than all rounds, or nothing would be shown.
    let chunks = 50 + 25 * rounds;
    let mut running = downloads(&lab, 4, chunks);
    let tables = settled(&lab);
    for round in 0..rounds {
        let known = tables.active();
        if round % 2 == 0 {
            balancer.kill().unwrap()
        } else {
            balancer.leave().unwrap()
        };
        assert_eq!(tables.active(), known, "nobody writes while nobody is there");
        balancer = balance(&lab, &config, None);
        assert_eq!(tables.active(), known, "the same file: not a word is written\n{}", balancer.log());
        let answer =
            Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(running.iter_mut().any(|one| one.ended().unwrap().is_none()), "they ended before the rounds did");
    are_whole(running, chunks);
    drop(tables);
    balancer.stop().unwrap();
    assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0]);
}

#[test]
fn r93_detach_leaves_the_host_as_it_was_after_a_kill_and_after_a_stop() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    let _proxy = lab.proxy(&config, "gw-1").unwrap();
    let before = Snapshot::of(&lab.hosts.balancer).unwrap();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut balancer = balance(&lab, &config, None);
        let refused = detach(&lab, &config);
        assert!(!refused.ok() && refused.stderr.contains("is running on this host"), "{refused:?}");
        let output = balancer.end(signal).unwrap();
        if signal == Signal::SIGTERM {
            assert!(
                output.stderr.contains("the kernel goes on forwarding; `gateway detach --config"),
                "{}",
                output.stderr
            );
        }
        let answer =
            Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(Snapshot::of(&lab.hosts.balancer).unwrap().has_xdp());
        let done = detach(&lab, &config);
        assert!(done.ok() && done.text() == "contoso: detached\n", "{done:?}");
        assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0], "{signal}");
    }
    assert_eq!(detach(&lab, &config).text(), "contoso: nothing was attached\n");
}

#[test]
fn r12_an_upgrade_and_a_downgrade_swap_the_program_on_the_live_link() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    let _proxies = ["gw-1", "gw-2"].map(|name| lab.proxy(&config, name).unwrap());
    let next = next::version(lab.folder());
    let mut balancer = balance(&lab, &config, None);
    let rounds = rounds(2);
    let chunks = 50 + 50 * rounds;
    let running = downloads(&lab, 4, chunks);
    let tables = settled(&lab);
    let mut tag = kernel::attached(&lab.hosts.balancer);
    for _ in 0..rounds {
        for object in [Some(next.as_path()), None] {
            let known = tables.active();
            balancer.kill().unwrap();
            balancer = balance(&lab, &config, object);
            let now = kernel::attached(&lab.hosts.balancer);
            assert_ne!(now, tag, "the program has changed");
            tag = now;
            assert_eq!(tables.active(), known, "not a word is written\n{}", balancer.log());
        }
    }
    are_whole(running, chunks);
    balancer.stop().unwrap();
}

#[test]
fn r7_a_layout_that_does_not_fit_is_refused_and_the_old_program_goes_on() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    let _proxy = lab.proxy(&config, "gw-1").unwrap();
    balance(&lab, &config, None).kill().unwrap();
    let mut tables = Tables::of(&lab.hosts.balancer).unwrap();
    tables.set_layout(|layout| layout + 1);
    let mut command = gateway("balance").unwrap();
    command.arg("--config").arg(&config);
    let refused = lab.hosts.balancer.run_command(command).unwrap();
    assert!(!refused.ok(), "{refused:?}");
    for part in ["another layout", "it goes on as it is", "`gateway detach`"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let answer = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(detach(&lab, &config).ok());
}

#[test]
fn r12_who_is_killed_in_the_middle_of_an_apply_leaves_the_old_tables_or_the_new() {
    let lab = Lab::raise(3).unwrap();
    let all = lab.config();
    let mut fewer = all.clone();
    fewer.instance.truncate(2);
    let files = [toml(&fewer), toml(&all)];
    let config = lab.write_text(&files[1]).unwrap();
    let mut balancer = balance(&lab, &config, None);
    let tables = settled(&lab);
    let (mut old, mut new) = (0, 0);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds(6) {
        // The very bytes that an apply which nobody disturbs would leave can be told by letting the next process finish it.
        let before = tables.active();
        lab.write_text(&files[round % 2]).unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pause = Duration::from_micros((random >> 33) % 1_500_000);
        balancer.signal(Signal::SIGHUP).unwrap();
        let end = Instant::now() + pause;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        balancer.kill().unwrap();
        let after = tables.active();
        balancer = balance(&lab, &config, None);
        let finished = tables.active();
        if after == before {
            old += 1;
        } else {
            // An apply may take two steps, while addresses come and go; here none do, so it is the one.
            assert_eq!(after.tables(), finished.tables(), "a mixture");
            new += 1;
        }
    }
    println!("killed in the middle of an apply: {old} times old tables, {new} times new ones");
    balancer.stop().unwrap();
}

fn toml(config: &lab::config::Config) -> String {
    toml::to_string(config).unwrap()
}

#[test]
fn r93_what_a_namespace_that_is_gone_has_left_is_cleared_away_by_the_next_start() {
    let gone = {
        let lab = Lab::raise(1).unwrap();
        let config = lab.write(&lab.config()).unwrap();
        balance(&lab, &config, None).kill().unwrap();
        kernel::folder(&lab.hosts.balancer).unwrap()
    };
    assert!(gone.exists());
    let lab = Lab::raise(1).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    // The kernel takes a namespace apart some time after its last user.
    let cleared = wait::eventually(Duration::from_secs(60), || {
        balance(&lab, &config, None).stop().unwrap();
        !gone.exists()
    });
    assert!(cleared, "{}", gone.display());
}
