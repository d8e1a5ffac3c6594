//! The first steps on a host: a file from what the kernel knows, what holds of it, and whether clients are served.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path, time::Duration};

use lab::{
    address::{PRIVATE, PUBLIC},
    config::default_host,
    control::{gateway, json},
    gateway::binary,
    host::Host,
    lab::{Lab, ROLES},
    process::Output,
    wait,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Long against everything that is waited for, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// `gateway …` in the words of the line, and no more.
fn run(host: &Host, line: &str) -> Output {
    host.run(&format!("{} {line}", binary().unwrap().display())).unwrap()
}

#[test]
fn a_first_file_is_made_from_the_kernels_view_and_passes_the_check() {
    let lab = Lab::raise(1).unwrap();
    let host = &lab.hosts.client;
    let file = lab.folder().join("first.toml");
    let path = file.display();

    let printed = run(host, "init --print");
    assert!(printed.ok(), "{}", printed.stderr);
    let made = run(host, &format!("init --config {path}"));
    assert!(made.ok() && made.text().contains("gateway check --config"), "{made:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, printed.text());
    for line in [
        "subnet = [\"10.0.0.0/24\", \"fd00:0:0:1::/64\"]",
        "interface = \"eth0\"",
        "dip = [\"10.0.0.99\", \"fd00:0:0:1::99\"]",
        "MTU 1500",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }

    let checked = run(host, &format!("check --config {path}"));
    assert!(checked.ok(), "{}", checked.stderr);
    assert_eq!(
        checked.stderr.matches("warning[").count(),
        1,
        "only C061, that no endpoint is there: {}",
        checked.stderr
    );

    let again = run(host, &format!("init --config {path} --service fabrikam"));
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    let refused = run(host, "init --print --service 5-contoso");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("C014"), "{}", refused.stderr);
}

#[test]
fn what_holds_is_shown_as_a_file_and_as_values() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    let shown = gateway(&lab.hosts.client, "config show", &file).unwrap();
    assert!(shown.ok(), "{}", shown.stderr);
    let again = lab.folder().join("again.toml");
    fs::write(&again, shown.stdout).unwrap();
    let summary = |file: &Path| gateway(&lab.hosts.client, "check", file).unwrap().text();
    assert_eq!(summary(&again), summary(&file));
    let values = json(&lab.hosts.client, "config show", &file).unwrap();
    let of = |key: &str| {
        values["values"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap().clone()
    };
    assert_eq!(of("service.name")["from"], "file");
    assert_eq!((&of("probe.rise")["from"], &of("probe.rise")["value"]), (&"default".into(), &2.into()));
}

/// `gateway test` with the lab's authority.
fn tested(lab: &Lab, host: &Host, options: &str) -> Output {
    let line = format!("test --ca {} {options}", lab.authority.root().display());
    gateway(host, &line, &lab.folder().join("gateway.toml")).unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_client_tries_every_name_of_every_role_through_the_vips() {
    let lab = Lab::raise(2).unwrap();
    let _running = lab.start(&lab.config().probed()).unwrap();

    let output = tested(&lab, &lab.hosts.client, "");
    assert!(output.ok(), "{}{}", output.text(), output.stderr);
    for role in ROLES {
        assert!(output.text().contains(&default_host(role)), "{role} in\n{}", output.text());
    }
    assert!(output.text().contains("10.0.0.5: by eth0\n"), "{}", output.text());
    assert!(output.text().lines().all(|line| line.chars().count() <= 80), "{}", output.text());

    let report = report(&tested(&lab, &lab.hosts.client, "--json"));
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["state"] == "fine"), "{report:#}");
    let at = |port: u16| {
        checks.iter().filter(|check| check["at"] == format!("{PRIVATE}:{port}")).collect::<Vec<_>>()
    };
    assert!(
        at(443).iter().all(|check| check["status"] == 200 && check["certificate_days"].as_u64().unwrap() > 1)
    );
    assert!(at(80).iter().all(|check| check["status"] == 308), "{report:#}");
    assert_eq!(at(3443).len(), 1, "management alone");
    let public: Vec<_> = checks
        .iter()
        .filter(|check| check["at"].as_str().unwrap().starts_with(&PUBLIC.to_string()))
        .collect();
    assert_eq!(public.len(), 1, "{public:?}");

    let untrusted =
        gateway(&lab.hosts.client, "test --role gateway", &lab.folder().join("gateway.toml")).unwrap();
    assert_eq!(untrusted.status.code(), Some(1));
    assert!(untrusted.text().contains("UnknownIssuer"), "{}{}", untrusted.text(), untrusted.stderr);

    let misspelt = tested(&lab, &lab.hosts.client, "--role managment");
    assert!(misspelt.stderr.contains("did you mean management?"), "{}", misspelt.stderr);
}

#[test]
fn an_upstream_that_is_off_fails_its_role_alone() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().probed();
    let portal = config.endpoint.iter_mut().find(|endpoint| endpoint.role == "portal").unwrap();
    portal.routes[0].upstream = vec!["http://10.0.1.20:9".into()];
    let _running = lab.start(&config).unwrap();
    let output = tested(&lab, &lab.hosts.client, "--json");
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    for check in report["checks"].as_array().unwrap() {
        let is_portal = check["role"] == "portal" && check["at"].as_str().unwrap().ends_with(":443");
        assert_eq!(check["state"] == "failed", is_portal, "{check}");
    }
}

#[test]
fn on_a_host_that_has_the_vip_it_says_so_and_calls_nothing_failed() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    let _balancer = lab.balance(&file).unwrap();
    let output = tested(&lab, &lab.hosts.balancer, "");
    assert_eq!(output.status.code(), Some(1), "nothing was shown");
    assert!(output.text().contains("do not pass the balancer's program"), "{}", output.text());
    assert!(output.text().contains("\n0 fine, 0 failed, "), "{}", output.text());
}

#[test]
fn ctrl_c_ends_it_at_once_with_what_is_known() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    // Whoever asks for the VIP gets no answer, nor a refusal.
    lab.hosts
        .client
        .ip([format!("neigh replace {PRIVATE} lladdr 02:00:00:00:00:01 dev eth0 nud permanent")])
        .unwrap();
    let mut command = lab::gateway::gateway("test").unwrap();
    command.arg("--config").arg(&file).arg("--ca").arg(lab.authority.root()).args([
        "--vip",
        &PRIVATE.to_string(),
        "--timeout",
        "10m",
    ]);
    let mut process = lab.hosts.client.spawn(command).unwrap();
    let waits = || lab.hosts.client.must("ss -tnH state syn-sent").unwrap().contains(&PRIVATE.to_string());
    assert!(wait::eventually(PATIENCE, waits));
    process.signal(Signal::SIGINT).unwrap();
    let output = process.wait(PATIENCE).unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.text().contains("0 fine, 0 failed"), "{}", output.text());
    assert!(!waits(), "its connections are closed");
}
