//! R91: no root. The units are what systemd takes, and their capabilities are those that are needed, no more and no less.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, process::Command, time::Duration};

use lab::{
    address::PRIVATE,
    config::{Config, default_host},
    curl::Curl,
    gateway::{Gateway, gateway},
    lab::Lab,
    mode::Mode,
    unit::{self, Unit, unprivileged},
};
use nix::sys::signal::Signal;

const BALANCE: &str = "gateway-balance.service";
const PROXY: &str = "gateway-proxy@.service";
const RUN: &str = "gateway.service";

/// CAP_PERFMON, CAP_BPF, and CAP_SYS_ADMIN, which is both.
const OF_BPF: u64 = 1 << 38 | 1 << 39 | 1 << 21;

fn balancer(lab: &Lab, config: &Config, capabilities: &[&str]) -> anyhow::Result<Gateway> {
    let path = lab.write(config)?;
    let mut command = unprivileged("balance", capabilities, lab.folder())?;
    command.arg("--config").arg(path);
    Gateway::start(&lab.hosts.balancer, command, lab.folder())
}

fn proxy(lab: &Lab, config: &Config, capabilities: &[&str], name: &str) -> anyhow::Result<Gateway> {
    let path = lab.write(config)?;
    let mut command = unprivileged("proxy", capabilities, lab.folder())?;
    command.arg("--config").arg(path).args(["--instance", name]);
    Gateway::start(lab.instance(name)?, command, lab.folder())
}

/// `CapEff` and `CapPrm` of every thread.
fn capabilities(gateway: &Gateway) -> Vec<u64> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
    let status = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    status
        .flat_map(|text| {
            let sets = text.lines().filter_map(|line| {
                line.strip_prefix("CapPrm:").or_else(|| line.strip_prefix("CapEff:")).map(str::to_owned)
            });
            sets.map(|set| u64::from_str_radix(set.trim(), 16).unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

fn serves(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().forwarding(mode);
    let (balance, of_proxy) = (Unit::read(BALANCE).unwrap(), Unit::read(PROXY).unwrap());
    let names: Vec<_> = config.instance.iter().map(|instance| instance.name.clone()).collect();
    let proxies: Vec<_> =
        names.iter().map(|name| proxy(&lab, &config, &of_proxy.capabilities(), name).unwrap()).collect();
    let _balancer = balancer(&lab, &config, &balance.capabilities()).unwrap();
    let request = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/");
    for _ in 0..10 {
        let answer = request.send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{mode:?}: {answer:?}");
    }
    for proxy in &proxies {
        let sets = capabilities(proxy);
        assert!(sets.len() > 2 && sets.iter().all(|set| set & OF_BPF == 0), "{mode:?}: {sets:x?}");
    }
}

#[test]
fn r91_balancer_and_proxies_serve_without_root_and_the_proxies_without_bpf() {
    for mode in [Mode::L2, Mode::Gue4, Mode::Nat] {
        serves(mode);
    }
}

#[test]
fn r91_the_balancer_starts_with_none_of_its_capabilities_missing() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config();
    let unit = Unit::read(BALANCE).unwrap();
    for missing in unit.capabilities() {
        let rest: Vec<_> = unit.capabilities().into_iter().filter(|one| *one != missing).collect();
        let error = balancer(&lab, &config, &rest).map(drop).expect_err(missing);
        // What is missing is said, in one way or another, and the host is as it was.
        assert!(format!("{error:#}").contains("gateway: "), "{missing}: {error:#}");
        let addresses = lab.hosts.balancer.must("ip -o address show dev eth0").unwrap();
        assert!(!addresses.contains(&PRIVATE.to_string()), "{missing}: {addresses}");
    }
}

#[test]
fn r91_units_bound_what_they_grant() {
    for name in [BALANCE, PROXY, RUN] {
        let unit = Unit::read(name).unwrap();
        let bounding: Vec<_> = unit.values("CapabilityBoundingSet").flat_map(str::split_whitespace).collect();
        assert_eq!(bounding, unit.capabilities(), "{name}");
        assert_eq!(unit.values("User").collect::<Vec<_>>(), ["gateway"], "{name}");
        assert_eq!(unit.values("Type").collect::<Vec<_>>(), ["notify"], "{name}");
    }
}

#[test]
fn r91_systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for name in [BALANCE, PROXY, RUN] {
        // It wants the program to be there.
        let text =
            fs::read_to_string(unit::folder().join(name)).unwrap().replace("/usr/bin/gateway", "/bin/true");
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        verify.arg(path);
    }
    let output = match verify.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: systemd-analyze ({error}); install the package systemd"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_owner_task_answers_the_watchdog_and_a_stopped_one_does_not() {
    let lab = Lab::raise(1).unwrap();
    let mut command = gateway("balance").unwrap();
    command.env("WATCHDOG_USEC", "400000").arg("--config").arg(lab.write(&lab.config()).unwrap());
    let mut balancer = Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
    assert!(balancer.says("WATCHDOG=1", Duration::from_secs(30)).unwrap());
    balancer.signal(Signal::SIGSTOP).unwrap();
    // What it had sent before is heard and forgotten.
    balancer.says("WATCHDOG=1", Duration::from_millis(400)).unwrap();
    let heard = balancer.says("WATCHDOG=1", Duration::from_secs(1)).unwrap();
    balancer.signal(Signal::SIGCONT).unwrap();
    assert!(!heard);
}
