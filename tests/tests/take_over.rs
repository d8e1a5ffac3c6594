//! One `gateway proxy` follows another: no connection is refused or reset, and what waits is served.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "take_over/tunnels.rs"]
mod tunnels;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lab::{
    address::{PRIVATE, Station},
    config::default_host,
    curl::Curl,
    gateway::Gateway,
    lab::Lab,
    process::Process,
    snapshot::Snapshot,
    wait::{eventually, until},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// From one restart to the next.
const PACE: Duration = Duration::from_secs(3);
/// Clients that wait in an accept queue.
const WAITING: usize = 200;

/// How many restarts a test makes; 20 are asked of a release.
fn rounds() -> u32 {
    std::env::var("GATEWAY_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Busy clients of the private VIP over HTTP/1.1, on connections that they keep.
fn h2load(duration: Duration) -> Command {
    let mut h2load = Command::new("h2load");
    let host = default_host("gateway");
    h2load.args(["--h1", "--clients", "16", "--threads", "1"]);
    h2load.args(["--duration", &duration.as_secs().to_string()]);
    h2load.args(["--connect-to", &format!("{PRIVATE}:443"), &format!("https://{host}/")]);
    h2load
}

fn served(lab: &Lab) -> u16 {
    Curl::https(lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap().status
}

/// Clients that ask all the while, and are to get what they ask for.
struct Load {
    process: Process,
    start: Instant,
    rounds: u32,
}

impl Load {
    fn start(lab: &Lab, rounds: u32) -> Self {
        let process = lab.hosts.client.spawn(h2load(PACE * rounds + PACE)).unwrap();
        Self { process, start: Instant::now(), rounds }
    }

    /// Returns when the next restart is due.
    fn due(&self, round: u32) {
        let due = self.start + PACE * round + PACE / 6;
        assert!(eventually(PATIENCE, || Instant::now() >= due));
    }

    fn lost_nothing(mut self) {
        let output = self.process.wait(PACE * self.rounds + PACE + PATIENCE).unwrap();
        let text = output.text();
        let line =
            |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        let (requests, codes) = (line("requests:"), line("status codes:"));
        println!("{} restarts; {requests}; {codes}", self.rounds);
        for none in [" 0 failed", " 0 errored", " 0 timeout"] {
            assert!(requests.contains(none), "{text}");
        }
        assert!(codes.ends_with("0 3xx, 0 4xx, 0 5xx") && !codes.contains(" 0 2xx"), "{text}");
    }
}

#[test]
fn r12_restarts_under_load_refuse_and_reset_nothing() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    let load = Load::start(&lab, rounds());
    for round in 0..rounds() {
        load.due(round);
        let next = lab.next_proxy(&path, "gw-1").unwrap();
        has_been_followed(&mut proxy);
        proxy = next;
    }
    load.lost_nothing();
}

fn has_been_followed(proxy: &mut Gateway) {
    let output = proxy.wait().unwrap();
    assert!(output.ok() && output.stderr.contains("has taken over"), "{}", output.stderr);
}

#[test]
fn r12_clients_that_wait_in_the_queue_are_served_by_whoever_comes() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    // It accepts nothing, and answers its successor only once all of them wait.
    proxy.signal(Signal::SIGSTOP).unwrap();
    let at = SocketAddr::new(PRIVATE.into(), 80);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", default_host("gateway"));
    let mut clients: Vec<TcpStream> = (0..WAITING)
        .map(|_| {
            let mut client = lab.hosts.client.enter(|| TcpStream::connect(at)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            client
        })
        .collect();
    thread::scope(|scope| {
        let next = scope.spawn(|| lab.next_proxy(&path, "gw-1"));
        proxy.signal(Signal::SIGCONT).unwrap();
        for client in &mut clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 308 "), "{answer:?}");
        }
        let next = next.join().unwrap().unwrap();
        assert!(proxy.wait().unwrap().ok());
        drop(next);
    });
}

#[test]
fn a_successor_that_cannot_start_leaves_the_running_proxy_and_the_host_as_they_are() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config();
    let path = lab.write(&config).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let before = Snapshot::of(host).unwrap();
    let refused = lab.proxy(&path, "gw-1").unwrap_err();
    assert!(format!("{refused:#}").contains("--take-over"), "{refused:#}");
    // One that gets as far as the sockets, with a VIP more.
    let taken = SocketAddr::new(Station::instance(1).v4().into(), 8081);
    let _other = host.enter(|| TcpListener::bind(taken)).unwrap();
    let mut more = config.clone();
    more.vip.private.push("10.0.0.6".parse().unwrap());
    more.probe.port = Some(8081);
    lab.write(&more).unwrap();
    let refused = lab.next_proxy(&path, "gw-1").unwrap_err();
    assert!(format!("{refused:#}").contains("8081"), "{refused:#}");
    assert!(eventually(PATIENCE, || proxy.log().contains("this process goes on")), "{}", proxy.log());
    // The file itself.
    lab.write_text("nonsense").unwrap();
    lab.next_proxy(&path, "gw-1").unwrap_err();
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
    assert_eq!(served(&lab), 200);
    // It can still be followed.
    lab.write(&config).unwrap();
    let _next = lab.next_proxy(&path, "gw-1").unwrap();
    assert!(proxy.wait().unwrap().ok());
    assert_eq!(served(&lab), 200);
}

#[test]
fn a_successor_listens_where_its_file_says_and_leaves_nothing_behind() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config();
    let host = lab.instance("gw-1").unwrap();
    let before = Snapshot::of(host).unwrap();
    let path = lab.write(&config).unwrap();
    let first = lab.proxy(&path, "gw-1").unwrap();
    let mut fewer = config.clone();
    let gone = fewer.vip.private.remove(1);
    lab.write(&fewer).unwrap();
    let second = lab.next_proxy(&path, "gw-1").unwrap();
    let open = |vip| host.enter(|| TcpStream::connect_timeout(&SocketAddr::new(vip, 443), PATIENCE)).is_ok();
    let (kept, gone): (_, std::net::IpAddr) = (PRIVATE.into(), gone);
    assert!(open(kept) && !open(gone));
    lab.write(&config).unwrap();
    let mut third = lab.next_proxy(&path, "gw-1").unwrap();
    assert!(open(kept));
    // The kernel has an IPv6 address on lo in use only once its work queue gets to it.
    assert!(eventually(PATIENCE, || open(gone)));
    for mut ended in [first, second] {
        assert!(ended.wait().unwrap().ok());
    }
    assert!(third.end(Signal::SIGINT).unwrap().ok());
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
}

#[test]
fn sessions_are_resumed_across_a_restart() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let host = lab.instance("gw-1").unwrap();
    let session = lab.folder().join("session.pem");
    // With TLS 1.2 the ticket is in the handshake, so nothing has to be asked for.
    let ask = |option: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-tls1_2", "-connect", &format!("{PRIVATE}:443")]);
        openssl.args(["-servername", &default_host("gateway"), option]).arg(&session);
        host.run_command(openssl).unwrap().text()
    };
    assert!(ask("-sess_out").contains("New, TLSv1.2"));
    assert!(ask("-sess_in").contains("Reused, TLSv1.2"), "by the same process");
    let _next = lab.next_proxy(&path, "gw-1").unwrap();
    assert!(proxy.wait().unwrap().ok());
    assert!(ask("-sess_in").contains("Reused, TLSv1.2"), "by its successor");
}

/// The process that the service manager is told of.
fn main_process(proxy: &mut Gateway) -> Pid {
    let pid = until(PATIENCE, || proxy.told().unwrap()?.strip_prefix("MAINPID=")?.parse().ok());
    Pid::from_raw(pid.unwrap_or_else(|| panic!("no other main process:\n{}", proxy.log())))
}

#[test]
fn sigusr2_starts_the_program_anew_and_tells_the_service_manager() {
    let lab = Lab::raise(1).unwrap();
    let path = lab.write(&lab.config()).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let before = Snapshot::of(host).unwrap();
    let mut proxy = lab.proxy(&path, "gw-1").unwrap();
    let _balancer = lab.balance(&path).unwrap();
    proxy.signal(Signal::SIGUSR2).unwrap();
    let successor = main_process(&mut proxy);
    let ready = until(PATIENCE, || proxy.told().unwrap().filter(|line| line == "READY=1"));
    assert!(ready.is_some(), "{}", proxy.log());
    let output = proxy.wait().unwrap();
    assert!(output.ok(), "{}", output.stderr);
    assert_eq!(served(&lab), 200);
    kill(successor, Signal::SIGINT).unwrap();
    assert!(eventually(PATIENCE, || kill(successor, None).is_err()));
    assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0]);
}
