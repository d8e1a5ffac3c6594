//! R6: a command ends in a working service or changes nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use lab::{
    address::{PRIVATE, PUBLIC},
    config::default_host,
    curl::Curl,
    gateway::gateway,
    host::Host,
    lab::Lab,
    process::Output,
    snapshot::Snapshot,
    wait::eventually,
};
use nix::sys::signal::Signal;

fn balance(config: &Path) -> Command {
    let mut command = gateway("balance").unwrap();
    command.arg("--config").arg(config);
    command
}

fn proxy(config: &Path) -> Command {
    let mut command = gateway("proxy").unwrap();
    command.arg("--config").arg(config).args(["--instance", "gw-1"]);
    command
}

/// Runs a command that has to fail with this exit code, say these words, and leave the host as it was.
fn fails(host: &Host, command: Command, code: i32, words: &[&str]) -> Output {
    let before = Snapshot::of(host).unwrap();
    let output = host.run_command(command).unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
    for word in words {
        assert!(output.stderr.contains(word), "{word} is not in\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
    output
}

/// The balancer's host and the first instance's.
fn both(lab: &Lab) -> [Snapshot; 2] {
    [&lab.hosts.balancer, &lab.hosts.instances[0]].map(|host| Snapshot::of(host).unwrap())
}

/// What is different on either since `before`.
fn changed(lab: &Lab, before: &[Snapshot; 2]) -> Vec<String> {
    both(lab).iter().zip(before).flat_map(|(after, before)| after.since(before)).collect()
}

/// The same command without any capability, as a unit that lacks them would run it.
fn without_capabilities(command: &Command) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(command.get_program())
        .args(command.get_args());
    setpriv
}

#[test]
fn r06_a_missing_interface_is_named() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.balancer.interface = "eth9".to_owned();
    fails(&lab.hosts.balancer, balance(&lab.write(&config).unwrap()), 1, &["eth9"]);
}

#[test]
fn r06_a_bad_file_is_refused_by_every_command_with_its_place() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write_text("[service]\nname = \"contoso\"\nmodus = \"internal\"\n").unwrap();
    fails(&lab.hosts.balancer, balance(&path), 2, &["gateway.toml:3:1", "modus", "mode"]);
    fails(&lab.hosts.instances[0], proxy(&path), 2, &["gateway.toml:3:1", "modus"]);
    let missing = lab.folder().join("nowhere.toml");
    fails(&lab.hosts.balancer, balance(&missing), 2, &["nowhere.toml"]);
}

#[test]
fn r06_an_instance_that_the_file_does_not_have_is_named_with_the_nearest() {
    let lab = Lab::raise(2).unwrap();
    let mut command = gateway("proxy").unwrap();
    command.arg("--config").arg(lab.write(&lab.config()).unwrap()).args(["--instance", "gw-7"]);
    let host = &lab.hosts.instances[0];
    let before = Snapshot::of(host).unwrap();
    let output = host.run_command(command).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    assert!(output.stderr.contains("gw-7") && output.stderr.contains("gw-1"), "{}", output.stderr);
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
}

#[test]
fn r06_a_missing_certificate_stops_the_proxy() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config();
    fs::remove_file(&config.endpoint[0].certificate.chain).unwrap();
    let host = &lab.hosts.instances[0];
    let before = Snapshot::of(host).unwrap();
    let output = host.run_command(proxy(&lab.write(&config).unwrap())).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    let file = config.endpoint[0].certificate.chain.file_name().unwrap().to_string_lossy().into_owned();
    assert!(output.stderr.contains(&file), "{}", output.stderr);
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
}

#[test]
fn r06_a_port_in_use_stops_the_proxy() {
    let lab = Lab::raise(1).unwrap();
    let host = &lab.hosts.instances[0];
    let _taken = host.enter(|| TcpListener::bind("[::]:443")).unwrap();
    fails(host, proxy(&lab.write(&lab.config()).unwrap()), 1, &["443", "in use"]);
}

#[test]
fn r06_without_privileges_nothing_is_begun() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    fails(&lab.hosts.balancer, without_capabilities(&balance(&path)), 1, &["CAP_"]);
    fails(&lab.hosts.instances[0], without_capabilities(&proxy(&path)), 1, &["CAP_"]);
}

#[test]
fn r06_sigint_leaves_the_host_as_it_was() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    for signal in [Signal::SIGINT; 2] {
        let before = both(&lab);
        let mut proxy = lab.proxy(&path, "gw-1").unwrap();
        let mut balancer = lab.balance(&path).unwrap();
        assert!(Snapshot::of(&lab.hosts.balancer).unwrap().has_xdp());
        for (gateway, name) in [(&mut balancer, "balance"), (&mut proxy, "proxy")] {
            let output = gateway.end(signal).unwrap();
            assert_eq!(output.status.code(), Some(0), "{name} by {signal}: {}", output.stderr);
        }
        assert_eq!(changed(&lab, &before), [""; 0], "{signal}");
    }
}

/// Balancer and proxies start, answer, and leave balancer and gw-1 as they were before.
fn serves_and_leaves(lab: &Lab, before: &[Snapshot; 2]) {
    let running = lab.start(&lab.config()).unwrap();
    let answer = Curl::https(lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(running);
    assert_eq!(changed(lab, before), [""; 0]);
}

#[test]
fn r06_addresses_that_were_there_stay() {
    let lab = Lab::raise(1).unwrap();
    lab.hosts.balancer.ip([format!("address add {PRIVATE}/32 dev eth0")]).unwrap();
    lab.hosts.instances[0].ip([format!("address add {PUBLIC}/32 dev lo")]).unwrap();
    let before = both(&lab);
    serves_and_leaves(&lab, &before);
}

#[test]
fn r06_a_second_balancer_is_refused_and_the_first_goes_on() {
    let lab = Lab::raise(1).unwrap();
    let running = lab.start(&lab.config()).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    fails(&lab.hosts.balancer, balance(&path), 1, &[]);
    let answer = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}\n{}", running.balancer.log());
}

#[test]
fn r93_after_kill_nine_the_next_start_works_and_its_end_leaves_nothing() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    let before = both(&lab);
    for mut killed in [lab.balance(&path).unwrap(), lab.proxy(&path, "gw-1").unwrap()] {
        killed.end(Signal::SIGKILL).unwrap();
    }
    serves_and_leaves(&lab, &before);
}

#[test]
fn r06_a_bad_file_at_sighup_changes_nothing() {
    let lab = Lab::raise(1).unwrap();
    let mut running = lab.start(&lab.config()).unwrap();
    lab.write_text("nonsense").unwrap();
    let proxy = running.proxies.get_mut("gw-1").unwrap();
    for gateway in [&mut running.balancer, proxy] {
        gateway.reload().unwrap();
        let told = eventually(Duration::from_secs(5), || gateway.log().contains("gateway.toml"));
        assert!(told, "{}", gateway.log());
    }
    let answer = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!eventually(Duration::ZERO, || running.balancer.ended().unwrap().is_some()));
}
