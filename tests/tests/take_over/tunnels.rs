//! The same with an end of tunnels in the kernel, which goes from one process to the next too.

use std::{fs, net::TcpListener};

use lab::{
    host::Host,
    mode::Mode,
    unit::{Unit, unprivileged},
};

use super::*;

/// The program on an instance's interface.
fn program(host: &Host) -> u32 {
    let link = host.must("ip -details link show dev eth0").unwrap();
    let words: Vec<_> = link.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair[0].starts_with("prog/xdp") && pair[1] == "id");
    words[at.unwrap_or_else(|| panic!("no program: {link}")) + 2].parse().unwrap()
}

fn restarts_lose_nothing(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let path = lab.write(&lab.config().forwarding(mode)).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let before = Snapshot::of(host).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _other = lab.proxy(&path, "gw-2").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    let mut known = program(host);
    let load = Load::start(&lab, rounds());
    for round in 0..rounds() {
        load.due(round);
        let next = lab.next_proxy(&path, "gw-1").unwrap();
        let replaced = || std::mem::replace(&mut known, program(host)) != known;
        assert!(eventually(PATIENCE, replaced), "{mode:?}: the program is another one\n{}", next.log());
        has_been_followed(&mut proxy);
        proxy = next;
    }
    load.lost_nothing();
    assert!(proxy.end(Signal::SIGINT).unwrap().ok());
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0], "{mode:?}");
}

#[test]
fn r12_restarts_under_load_lose_nothing_with_ipip() {
    restarts_lose_nothing(Mode::Ipip4);
}

#[test]
fn r12_restarts_under_load_lose_nothing_with_gue() {
    restarts_lose_nothing(Mode::Gue6);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_running_program_and_its_tables_alone() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().forwarding(Mode::Gue4);
    let path = lab.write(&config).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let (before, known) = (Snapshot::of(host).unwrap(), program(host));
    let taken = SocketAddr::new(Station::instance(1).v4().into(), 8081);
    let other = host.enter(|| TcpListener::bind(taken)).unwrap();
    let mut moved = config.clone();
    moved.probe.port = Some(8081);
    lab.write(&moved).unwrap();
    lab.next_proxy(&path, "gw-1").unwrap_err();
    assert_eq!((Snapshot::of(host).unwrap().since(&before), program(host)), (Vec::new(), known));
    // Whoever goes on can still write them.
    lab.write(&closed(&config)).unwrap();
    proxy.reload().unwrap();
    assert!(eventually(PATIENCE, || !answers(&lab)), "{}", proxy.log());
    lab.write(&config).unwrap();
    proxy.reload().unwrap();
    assert!(eventually(PATIENCE, || answers(&lab)), "{}", proxy.log());
    drop(other);
}

/// A file by which the client is outside.
fn closed(config: &lab::config::Config) -> lab::config::Config {
    let mut closed = config.clone();
    closed.network.peered.clear();
    closed
}

/// Whether a client in the peered network is served.
fn answers(lab: &Lab) -> bool {
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, "/").with(["--connect-timeout", "1"]);
    curl.send(&lab.hosts.routed).unwrap().status == 200
}

/// A process that is not this one's child; it does not outlive the test.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        // Fails only where it has ended.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// The capabilities that a process has.
fn capabilities(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap()
}

/// CAP_PERFMON, CAP_BPF, CAP_SYS_ADMIN.
const OF_BPF: u64 = 1 << 38 | 1 << 39 | 1 << 21;

/// Who has given up loading programs starts one that cannot load any, and that goes on with the program at work.
fn goes_on_without_capabilities(mode: Mode) {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().forwarding(mode);
    let path = lab.write(&config).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let unit = Unit::read("gateway-proxy@.service").unwrap();
    let mut command = unprivileged("proxy", &unit.capabilities(), lab.folder()).unwrap();
    command.arg("--config").arg(&path).args(["--instance", "gw-1"]);
    let mut first = Gateway::start(host, command, lab.folder()).unwrap();
    let _balancer = lab.balance(&path).unwrap();
    let known = program(host);
    let mut running = Pid::from_raw(first.id().try_into().unwrap());
    let mut successors = Vec::new();
    let load = Load::start(&lab, rounds());
    for round in 0..rounds() {
        load.due(round);
        kill(running, Signal::SIGUSR2).unwrap();
        running = main_process(&mut first);
        successors.push(Successor(running));
        let ready = until(PATIENCE, || first.told().unwrap().filter(|line| line == "READY=1"));
        assert!(ready.is_some(), "{mode:?}: {}", first.log());
        assert_eq!(capabilities(running) & OF_BPF, 0);
    }
    load.lost_nothing();
    assert_eq!(program(host), known, "{mode:?}: {}", first.log());
    assert!(first.log().contains(&format!("going on with program {known}")), "{mode:?}: {}", first.log());
    // The tables are its own to write now.
    lab.write(&closed(&config)).unwrap();
    kill(running, Signal::SIGHUP).unwrap();
    assert!(eventually(PATIENCE, || !answers(&lab)), "{mode:?}: {}", first.log());
    lab.write(&config).unwrap();
    kill(running, Signal::SIGHUP).unwrap();
    assert!(eventually(PATIENCE, || answers(&lab)), "{mode:?}: {}", first.log());
    // The first one has ended by now, and the last one takes the program away.
    assert!(first.wait().unwrap().ok());
    kill(running, Signal::SIGINT).unwrap();
    assert!(eventually(PATIENCE, || kill(running, None).is_err()), "{mode:?}");
    assert!(!Snapshot::of(host).unwrap().has_xdp(), "{mode:?}");
}

#[test]
fn r91_a_successor_without_capabilities_goes_on_with_the_program_at_work_with_ipip() {
    goes_on_without_capabilities(Mode::Ipip6);
}

#[test]
fn r91_a_successor_without_capabilities_goes_on_with_the_program_at_work_with_gue() {
    goes_on_without_capabilities(Mode::Gue4);
}
