//! R12, R83: windows and drains end by what the instances say of their living flows, and no sooner.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lab::{address::PRIVATE, config::Config, lab::Lab, lab::Running, wait::eventually};

/// Connections of a test; half of the buckets move, so that none of these does once in 1,000,000 times.
const FLOWS: usize = 20;
/// A margin of ten seconds, a minute of TIME_WAIT where the instance's end was first, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);
const ASK: &str = "GET / HTTP/1.1\r\nHost: contoso.azure-api.net\r\n\r\n";

/// Two instances that run, and a balancer.
struct Windows {
    // In this order, in which they are dropped: a process whose host is gone is killed and cannot clean up.
    running: Running,
    config: Config,
    lab: Lab,
}

impl Windows {
    fn up() -> Self {
        let lab = Lab::raise(2).unwrap();
        let config = lab.config();
        let running = lab.start(&config).unwrap();
        Self { running, config, lab }
    }

    fn change(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.lab.write(&self.config).unwrap();
        self.running.balancer.reload().unwrap();
    }

    fn connect(&self, count: usize) -> Vec<TcpStream> {
        let to = SocketAddr::new(PRIVATE.into(), 80);
        (0..count)
            .map(|_| {
                let mut stream = self.lab.hosts.client.enter(|| TcpStream::connect(to)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                ask(&mut stream);
                stream
            })
            .collect()
    }

    fn log(&self) -> String {
        self.running.balancer.log()
    }

    /// How many buckets were still open when some closed last.
    fn open(&self) -> Option<usize> {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains("flow of an earlier owner any more"))?;
        line.split("; ").nth(1)?.split(' ').next()?.parse().ok()
    }

    fn settled(&mut self) -> u64 {
        self.lab.counters(&mut self.running.balancer).unwrap().steering.values().sum()
    }
}

/// The redirect: the shortest answer that a real proxy gives.
fn ask(stream: &mut TcpStream) {
    stream.write_all(ASK.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 308 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn r12_windows_close_once_the_flows_of_an_earlier_owner_have_ended_and_stay_open_while_one_lives() {
    let mut windows = Windows::up();
    let mut streams = windows.connect(FLOWS);
    windows.change(|file| file.instance[0].weight = 1);
    // Nearly all buckets of one instance go to the other; those with living flows of it stay open, the others close.
    let few = || windows.open().is_some_and(|open| (1..=FLOWS).contains(&open));
    assert!(eventually(PATIENCE, few), "{}", windows.log());
    streams.iter_mut().for_each(ask);
    let before = windows.settled();
    streams.iter_mut().for_each(ask);
    assert!(windows.settled() > before, "no flow was in an open window");
    // The client's end is first, so that nothing waits on the instance.
    drop(streams);
    assert!(eventually(PATIENCE, || windows.open() == Some(0)), "{}", windows.log());
    let before = windows.settled();
    windows.connect(FLOWS).iter_mut().for_each(ask);
    assert_eq!(windows.settled(), before, "no bucket is marked as moved any more");
}

#[test]
fn r83_a_drained_instance_is_free_once_it_has_no_flow_left() {
    let mut windows = Windows::up();
    let mut streams = windows.connect(FLOWS);
    windows.change(|file| file.instance[0].admin_state = "down".to_owned());
    let few = || windows.open().is_some_and(|open| (1..=FLOWS).contains(&open));
    assert!(eventually(PATIENCE, few), "{}", windows.log());
    streams.iter_mut().for_each(ask);
    let over = "gw-1: the drain is over, since it has no flow any more";
    assert!(!windows.log().contains(over), "{}", windows.log());
    drop(streams);
    assert!(eventually(PATIENCE, || windows.log().contains(over)), "{}", windows.log());
    assert!(eventually(PATIENCE, || windows.open() == Some(0)), "{}", windows.log());
    // It comes back, and serves again.
    windows.change(|file| file.instance[0].admin_state = "auto".to_owned());
    let syns = |windows: &mut Windows| {
        let counters = windows.lab.counters(&mut windows.running.balancer).unwrap();
        counters.instances.iter().find(|one| one.name == "gw-1").map_or(0, |one| one.syns)
    };
    // An instance that still takes itself for drained ends connections after an answer.
    windows.connect(FLOWS);
    assert!(syns(&mut windows) > 0);
}

#[test]
fn r80_an_affinity_is_switched_live_and_back() {
    let mut windows = Windows::up();
    let mut streams = windows.connect(FLOWS);
    windows.change(|file| file.balancer.affinity = "source-address".to_owned());
    streams.iter_mut().for_each(ask);
    let mut more = windows.connect(FLOWS);
    more.iter_mut().chain(&mut streams).for_each(ask);
    let over = "the switch of the affinity is over";
    assert!(!windows.log().contains(over), "half of the flows are where it does not lead");
    drop(streams);
    assert!(eventually(PATIENCE, || windows.log().contains(over)), "{}", windows.log());
    assert_eq!(windows.open(), None, "all windows close at once");
    more.iter_mut().for_each(ask);
    // This one stays open for longer: claims of the first may be left.
    windows.change(|file| file.balancer.affinity = "five-tuple".to_owned());
    more.iter_mut().for_each(ask);
    let mut streams = windows.connect(FLOWS);
    streams.iter_mut().chain(&mut more).for_each(ask);
}
