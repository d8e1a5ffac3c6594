//! R12: a balancer that is killed at any system call of an apply leaves old tables or new ones, and one whose system calls fail goes
//! on as it was. By strace(1).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::TcpStream,
};

use lab::{
    config::Config,
    control,
    host::Host,
    strace::{Call, Fault, Strace},
};

use super::*;

/// A VIP that comes and goes.
const COMES: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 6);
/// Something that listens on all of the balancer's addresses, as ssh does.
const OWN: u16 = 2222;
const PATIENCE: Duration = Duration::from_secs(30);
/// Of an attempt that gets no answer.
const SILENCE: Duration = Duration::from_millis(300);

/// Two files, and a balancer that is moved from one to the other and back.
struct Moved {
    // In this order, in which they are dropped.
    balancer: Option<Gateway>,
    tables: Tables,
    files: [String; 2],
    /// Which of them is in force, or being taken up.
    at: usize,
    path: std::path::PathBuf,
    lab: Lab,
}

impl Moved {
    /// None: nothing can be traced here.
    fn between(lab: Lab, one: &Config, other: &Config) -> Option<Self> {
        let files = [toml(one), toml(other)];
        let path = lab.write_text(&files[0]).unwrap();
        let balancer = balance(&lab, &path, None);
        let tables = settled(&lab);
        match Strace::watch(balancer.id(), lab.folder()) {
            Ok(mut strace) => strace.let_go().unwrap(),
            Err(error) if env::var_os("CI").is_none() => {
                eprintln!("SKIPPED: {error:#}; install strace, and let it trace");
                return None;
            }
            Err(error) => panic!("{error:#}"),
        }
        Some(Self { balancer: Some(balancer), tables, files, at: 0, path, lab })
    }

    fn balancer(&mut self) -> &mut Gateway {
        self.balancer.as_mut().unwrap()
    }

    /// Writes the other file.
    fn turn(&mut self) {
        self.at = 1 - self.at;
        self.lab.write_text(&self.files[self.at]).unwrap();
    }

    /// Has it take up its file. False: it has ended.
    fn apply(&mut self) -> bool {
        let applies = |log: &str| log.matches(": apply ").count();
        let before = applies(&self.balancer().log());
        // Not by a signal, of which the event loop is told by a system call too. The answer may be lost.
        control::gateway(&self.lab.hosts.balancer, "apply --confirm", &self.path).unwrap();
        let balancer = self.balancer();
        // Nobody reads what it tells its service manager; a full socket is another test's.
        while balancer.told().unwrap().is_some() {}
        wait::eventually(PATIENCE, || applies(&balancer.log()) > before || balancer.has_ended());
        !balancer.has_ended()
    }

    /// What the main thread calls while it takes up the other file.
    fn calls(&mut self) -> Vec<Call> {
        self.turn();
        let strace = Strace::watch(self.balancer().id(), self.lab.folder()).unwrap();
        assert!(self.apply());
        strace.calls().unwrap()
    }

    /// Takes up the other file, with a fault on the way. False: the process has ended by it.
    fn take_up(&mut self, call: &Call, fault: Fault) -> bool {
        self.turn();
        let mut strace = Strace::inject(self.balancer().id(), self.lab.folder(), call, fault).unwrap();
        let lives = self.apply();
        strace.let_go().unwrap();
        lives
    }

    fn start_again(&mut self) {
        // Where it lives still: as if it had been killed a moment later.
        if let Some(mut running) = self.balancer.take()
            && running.ended().unwrap().is_none()
        {
            running.kill().unwrap();
        }
        self.balancer = Some(balance(&self.lab, &self.path, None));
    }

    fn last_apply(&self) -> serde_json::Value {
        control::json(&self.lab.hosts.balancer, "status", &self.path).unwrap()["configuration"]["last_apply"]
            .clone()
    }
}

/// As many of them as a run has rounds: of each name the first one and the last one before those between.
fn some(calls: Vec<Call>, rounds: usize) -> Vec<Call> {
    let mut by_name = BTreeMap::<String, VecDeque<Call>>::new();
    for call in calls {
        by_name.entry(call.name.clone()).or_default().push_back(call);
    }
    let mut chosen = Vec::new();
    while chosen.len() < rounds && !by_name.is_empty() {
        let take = if chosen.len() % 2 == 0 { VecDeque::pop_front } else { VecDeque::pop_back };
        chosen.extend(by_name.values_mut().filter_map(take));
        by_name.retain(|_, calls| !calls.is_empty());
    }
    chosen.truncate(rounds);
    chosen
}

#[test]
fn r12_who_is_killed_at_any_system_call_of_an_apply_leaves_the_old_tables_or_the_new() {
    let lab = Lab::raise(3).unwrap();
    let all = lab.config();
    let mut fewer = all.clone();
    fewer.instance.truncate(2);
    let Some(mut moved) = Moved::between(lab, &all, &fewer) else { return };
    let calls = moved.calls();
    println!("an apply makes {} system calls: {}", calls.len(), names(&calls));
    let (mut old, mut new) = (0, 0);
    for call in some(calls, rounds(12)) {
        let before = moved.tables.active();
        moved.take_up(&call, Fault::Kill);
        moved.balancer().signal(Signal::SIGKILL).ok();
        let after = moved.tables.active();
        moved.start_again();
        let finished = moved.tables.active();
        if after == before {
            old += 1;
        } else {
            assert_eq!(after.tables(), finished.tables(), "a mixture, by {call:?}");
            new += 1;
        }
    }
    println!("killed at one call after the other: {old} times old tables, {new} times new ones");
    assert!(old > 0, "no call was before the new tables");
}

/// `3 openat, 1 bpf`
fn names(calls: &[Call]) -> String {
    let names: BTreeSet<_> = calls.iter().map(|call| call.name.as_str()).collect();
    let count = |name| calls.iter().filter(|call| call.name == name).count();
    names.into_iter().map(|name| format!("{} {name}", count(name))).collect::<Vec<_>>().join(", ")
}

/// Whether a client gets past the program to what listens on the host.
fn gets_past(client: &Host, vip: std::net::Ipv4Addr) -> bool {
    client.enter(|| TcpStream::connect_timeout(&(vip, OWN).into(), SILENCE)).is_ok()
}

#[test]
fn r20_a_vip_that_comes_or_goes_is_never_there_unguarded_whenever_the_balancer_is_killed() {
    let lab = Lab::raise(2).unwrap();
    let one = lab.config();
    let mut two = one.clone();
    two.vip.private.push(COMES.into());
    let own = lab.hosts.balancer.enter(|| std::net::TcpListener::bind(("0.0.0.0", OWN))).unwrap();
    let Some(mut moved) = Moved::between(lab, &one, &two) else { return };
    assert!(!gets_past(&moved.lab.hosts.client, PRIVATE));
    let own_address = lab::address::BALANCER.v4();
    assert!(gets_past(&moved.lab.hosts.client, own_address), "silence would show nothing");
    let mut calls = moved.calls();
    println!("it comes by {} system calls: {}", calls.len(), names(&calls));
    let gone = moved.calls();
    println!("it goes by {} system calls: {}", gone.len(), names(&gone));
    if gone.len() > calls.len() {
        calls = gone;
    }
    for call in some(calls, rounds(12)) {
        moved.take_up(&call, Fault::Kill);
        moved.balancer().signal(Signal::SIGKILL).ok();
        for vip in [PRIVATE, COMES] {
            assert!(!gets_past(&moved.lab.hosts.client, vip), "{vip}, by {call:?}");
        }
        moved.start_again();
        for vip in [PRIVATE, COMES] {
            assert!(!gets_past(&moved.lab.hosts.client, vip), "{vip}, after {call:?}");
        }
        let addresses = moved.lab.hosts.balancer.must("ip -4 -oneline address show dev eth0").unwrap();
        let is_wanted = moved.at == 1;
        assert_eq!(addresses.contains(&format!(" {COMES}/32 ")), is_wanted, "by {call:?}: {addresses}");
    }
    drop(own);
}

/// Which errors a call may have; none: it is no part of an apply's work, but of waiting, telling the time or logging.
fn errors_of(call: &Call) -> &'static [&'static str] {
    match call.name.as_str() {
        "bpf" => &["ENOMEM", "EPERM"],
        "openat" => &["EIO", "EMFILE"],
        "flock" => &["ENOLCK"],
        "sendto" if call.on.contains("NETLINK") => &["ENOBUFS"],
        "read" if call.on.contains("</") => &["EIO"],
        "statx" | "fstat" | "lseek" | "ftruncate" => &["EIO"],
        "socket" | "bind" => &["ENOMEM"],
        "mmap" | "mremap" => &["ENOMEM"],
        _ => &[],
    }
}

fn fails_cleanly(lab: Lab, one: &Config, other: &Config) {
    let Some(mut moved) = Moved::between(lab, one, other) else { return };
    let mut calls = moved.calls();
    calls.extend(moved.calls());
    calls.retain(|call| !errors_of(call).is_empty());
    println!("{} calls that may fail: {}", calls.len(), names(&calls));
    let (mut refused, mut done, mut ended) = (0, 0, 0);
    for (at, call) in some(calls, rounds(16)).into_iter().enumerate() {
        let errors = errors_of(&call);
        let fault = Fault::Error(errors[at % errors.len()]);
        let before = moved.tables.active();
        let wanted = moved.at;
        if !moved.take_up(&call, fault) {
            // Without memory there is no going on.
            let log = moved.balancer().log();
            assert!(matches!(call.name.as_str(), "mmap" | "mremap"), "ended by {call:?} {fault:?}:\n{log}");
            assert_eq!(moved.tables.active(), before, "by {call:?} {fault:?}");
            moved.start_again();
            ended += 1;
            continue;
        }
        let last = moved.last_apply();
        if last["ok"] == true {
            done += 1;
        } else {
            assert!(
                last["error"].as_str().is_some_and(|error| !error.is_empty()),
                "{call:?} {fault:?}: {last}"
            );
            assert_eq!(moved.tables.active().tables(), before.tables(), "{call:?} {fault:?}: {last}");
            refused += 1;
        }
        // The next one works.
        assert!(moved.apply());
        let last = moved.last_apply();
        assert_eq!(last["ok"], true, "after {call:?} {fault:?}: {last}\n{}", moved.balancer().log());
        // Where addresses had gone already, the tables follow with the next look at the network.
        let followed = || moved.tables.active().tables() != before.tables();
        assert!(wait::eventually(PATIENCE, followed), "from {wanted} to the other, after {call:?} {fault:?}");
    }
    println!(
        "{refused} times refused, {done} times done all the same, {ended} times ended for want of memory"
    );
}

#[test]
fn r12_an_apply_whose_system_calls_fail_leaves_what_was_there_and_the_next_one_works() {
    let lab = Lab::raise(3).unwrap();
    let all = lab.config();
    let mut fewer = all.clone();
    fewer.instance.truncate(2);
    fails_cleanly(lab, &all, &fewer);
}

#[test]
fn r12_nor_does_it_where_a_vip_comes_or_goes() {
    let lab = Lab::raise(2).unwrap();
    let one = lab.config();
    let mut two = one.clone();
    two.vip.private.push(COMES.into());
    fails_cleanly(lab, &one, &two);
}
