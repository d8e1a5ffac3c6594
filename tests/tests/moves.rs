//! R12: real TCP while buckets change their owner. All namespaces share one kernel, and with it the secret of SYN cookies: so
//! these tests look at which instance a segment arrived, and do not take a client's success for it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6, ROUTER, Station},
    config::{Config, default_host},
    curl::Curl,
    damage, flows,
    frame::{self, Packet, flag},
    gateway::Gateway,
    inject::Injector,
    lab::Lab,
    mode::Mode,
    peer::{Flow, Peer},
    process::Process,
    segments::{Arrivals, Service},
    service::{self, Sunk},
    wait::eventually,
    wire::Wire,
};
use nix::sys::{
    socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, sockopt},
    stat::Mode as Permissions,
};

/// The redirect: the shortest answer that a real proxy gives.
const HTTP: Service = Service { vip: IpAddr::V4(PRIVATE), port: 80 };
const HTTP6: Service = Service { vip: IpAddr::V6(PRIVATE6), port: 80 };
const ASK: &str = "GET / HTTP/1.1\r\nHost: contoso.azure-api.net\r\n\r\n";
const ASK_ONCE: &str = "GET / HTTP/1.1\r\nHost: contoso.azure-api.net\r\nConnection: close\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 308 ";
/// Connections of a test; half of the buckets move, so that fewer than an eighth of these do once in 100,000 times.
const FLOWS: usize = 40;
const SOON: Duration = Duration::from_secs(10);

/// Two instances that run, and a balancer that knows of the first.
struct Moves {
    // In this order, in which they are dropped: a process whose host is gone is killed and cannot clean up.
    balancer: Gateway,
    proxies: Vec<Gateway>,
    arrivals: Arrivals,
    all: Config,
    lab: Lab,
}

impl Moves {
    fn up(mode: Mode, prepare: impl FnOnce(&Lab)) -> Self {
        let lab = Lab::raise(2).unwrap();
        prepare(&lab);
        let all = lab.config().forwarding(mode);
        let path = lab.write(&all).unwrap();
        let proxies = ["gw-1", "gw-2"].map(|name| lab.proxy(&path, name).unwrap()).into();
        let mut one = all.clone();
        one.instance.truncate(1);
        let balancer = lab.balance(&lab.write(&one).unwrap()).unwrap();
        let arrivals = Arrivals::listen(&lab).unwrap();
        Self { balancer, proxies, arrivals, all, lab }
    }

    /// The second instance comes, and about half of the buckets are its from now on.
    fn happen(&mut self) {
        self.lab.write(&self.all).unwrap();
        self.balancer.reload().unwrap();
        // It gets buckets once it has answered.
        let new = || {
            let (client, name) = (&self.lab.hosts.client, default_host("gateway"));
            flows::spread(&self.lab, client, &name, PRIVATE.into(), 443, 4).unwrap().contains_key("gw-2")
        };
        assert!(eventually(SOON, new), "{}", self.log());
        self.forget();
    }

    /// What has arrived does not count.
    fn forget(&self) {
        for service in [HTTP, HTTP6] {
            self.arrivals.segments(service).unwrap();
        }
    }

    /// Which instances got segments of each flow, told by its port.
    fn places(&self, service: Service, wanted: impl Fn(&Packet) -> bool) -> BTreeMap<u16, BTreeSet<String>> {
        let mut places = BTreeMap::<_, BTreeSet<_>>::new();
        for (name, packet) in self.arrivals.segments(service).unwrap() {
            if let Some((port, _)) = packet.ports.filter(|_| wanted(&packet)) {
                places.entry(port).or_default().insert(name);
            }
        }
        places
    }

    fn log(&self) -> String {
        let proxies = self.proxies.iter().map(Gateway::log).collect::<String>();
        format!("{}\n{proxies}", self.balancer.log())
    }

    fn counter(&self, instance: usize, name: &str) -> u64 {
        damage::counters(&self.lab.hosts.instances[instance]).unwrap()[name]
    }
}

/// The instance that each flow was at, and there alone.
fn alone(places: BTreeMap<u16, BTreeSet<String>>) -> BTreeMap<u16, String> {
    let alone = |(port, names): (u16, BTreeSet<String>)| {
        assert_eq!(names.len(), 1, "segments of port {port} went to {names:?}");
        (port, names.into_iter().next().unwrap())
    };
    places.into_iter().map(alone).collect()
}

fn at(places: &BTreeMap<u16, String>, name: &str) -> usize {
    places.values().filter(|place| *place == name).count()
}

fn connect(from: u16) -> TcpStream {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    let address = |ip: Ipv4Addr, port| SockaddrIn::from(SocketAddrV4::new(ip, port));
    socket::bind(socket.as_raw_fd(), &address(CLIENT.v4(), from)).unwrap();
    socket::connect(socket.as_raw_fd(), &address(PRIVATE, 80)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(ASK.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with(ANSWER) && answer.to_lowercase().contains("content-length: 0"), "{answer}");
}

/// One forged SYN at each of many idle connections.
fn forged_syns(mode: Mode) {
    let mut moves = Moves::up(mode, |_| ());
    let mut streams: Vec<_> = moves.lab.hosts.client.enter(|| (41_000..).take(FLOWS).map(connect).collect());
    streams.iter_mut().for_each(ask);
    moves.happen();
    let attacker = Injector::of_router(&moves.lab.hosts.router).unwrap();
    let forged = |port| HTTP.segment(&attacker, (CLIENT.v4().into(), port), flag::SYN, b"");
    attacker.send((41_000..).take(FLOWS).map(forged)).unwrap();
    let mut syns = BTreeMap::new();
    let came = eventually(SOON, || {
        syns.extend(alone(moves.places(HTTP, |packet| packet.flags == flag::SYN)));
        syns.len() == FLOWS
    });
    assert!(came, "{syns:?}\n{}", moves.log());
    // The SYN alone goes to the new owner: in each of these buckets a flow could be carried off.
    assert!(at(&syns, "gw-2") >= FLOWS / 8, "{syns:?}");
    streams.iter_mut().for_each(ask);
    let places = alone(moves.places(HTTP, |packet| packet.flags & flag::SYN == 0));
    assert_eq!(at(&places, "gw-1"), FLOWS, "{places:?}\n{}", moves.log());
    // And once more, now that the flows have been told from the forgeries.
    attacker.send((41_000..).take(FLOWS).map(forged)).unwrap();
    moves.forget();
    streams.iter_mut().for_each(ask);
    let places = alone(moves.places(HTTP, |packet| packet.flags & flag::SYN == 0));
    assert_eq!(at(&places, "gw-1"), FLOWS, "{places:?}\n{}", moves.log());
}

#[test]
fn r12_with_l2_a_forged_syn_at_an_idle_flow_of_a_moved_bucket_leaves_it_alive() {
    forged_syns(Mode::L2);
}

#[test]
fn r12_with_gue_a_forged_syn_at_an_idle_flow_of_a_moved_bucket_leaves_it_alive() {
    forged_syns(Mode::Gue4);
}

/// A flow whose handshake lacks the client's last segment.
fn open(peer: &Peer, service: Service, port: u16) -> Flow {
    let mut flow = peer.syn(service, port).unwrap();
    peer.opened(&mut flow).unwrap();
    flow
}

fn is_redirect(answer: &[u8]) {
    assert!(answer.starts_with(ANSWER.as_bytes()), "{}", String::from_utf8_lossy(answer));
}

/// A handshake begins, the bucket moves, the handshake ends; and one that is all after the move.
fn half_open(mode: Mode, service: Service, cookies: &str) {
    let mut moves = Moves::up(mode, |lab| {
        for host in &lab.hosts.instances {
            host.sysctl("net/ipv4/tcp_syncookies", cookies).unwrap();
        }
    });
    let peer = Peer::new(&moves.lab).unwrap();
    let before: Vec<_> = (30_000..).take(FLOWS).map(|port| open(&peer, service, port)).collect();
    moves.happen();
    for mut flow in before {
        is_redirect(&peer.ask(&mut flow, ASK.as_bytes()).unwrap());
    }
    let places = alone(moves.places(service, |_| true));
    assert_eq!(at(&places, "gw-1"), FLOWS, "{places:?}");
    for port in (31_000..).take(FLOWS) {
        let mut flow = open(&peer, service, port);
        is_redirect(&peer.ask(&mut flow, ASK.as_bytes()).unwrap());
    }
    // SYN and all that came behind it.
    let places = alone(moves.places(service, |packet| packet.ports.is_some_and(|(from, _)| from >= 31_000)));
    assert!(places.len() == FLOWS && at(&places, "gw-2") >= FLOWS / 8, "{places:?}");
    if cookies == "2" {
        assert!(moves.counter(0, "TcpExt SyncookiesRecv") >= FLOWS as u64);
        assert!(moves.counter(1, "TcpExt SyncookiesRecv") >= at(&places, "gw-2") as u64);
    }
}

#[test]
fn r12_with_l2_a_half_open_flow_of_a_moved_bucket_is_opened_where_it_began() {
    half_open(Mode::L2, HTTP, "1");
}

#[test]
fn r12_with_gue_a_half_open_flow_of_a_moved_bucket_is_opened_where_it_began() {
    half_open(Mode::Gue6, HTTP6, "1");
}

#[test]
fn r12_with_l2_a_syn_cookie_of_a_moved_bucket_comes_back_to_who_gave_it() {
    half_open(Mode::L2, HTTP6, "2");
}

#[test]
fn r12_with_gue_a_syn_cookie_of_a_moved_bucket_comes_back_to_who_gave_it() {
    half_open(Mode::Gue4, HTTP, "2");
}

/// Ethernet, IPv4, UDP, GUE and its list of hops: `next`, `count`, two bytes of nothing, the generation, seven hops.
const OUTER: usize = 14 + 20 + 8 + 4 + 36;

/// The outer headers of a packet that the balancer sends to the second instance, with the first one as a hop.
fn outer_to_the_second(moves: &Moves, peer: &Peer) -> Vec<u8> {
    let balancers = Wire::open(&moves.lab.hosts.switch, "balancer").unwrap();
    let second = Station::instance(2).v4().into();
    let size = OUTER + 40 + ASK.len();
    let outer = |frame: &[u8]| {
        let hops = &frame.get(OUTER - 36..OUTER)?;
        let is = frame.len() == size && frame::destination(frame) == Some(second) && hops[..2] == [0, 1];
        is.then(|| frame[..OUTER].to_vec())
    };
    for port in (31_000..).take(FLOWS) {
        peer.ask(&mut open(peer, HTTP, port), ASK.as_bytes()).unwrap();
        if let Some(outer) = balancers.arrived(outer).unwrap().pop() {
            return outer;
        }
    }
    panic!("no packet to the second instance has hops\n{}", moves.log());
}

#[test]
fn with_gue_an_instance_hands_a_segment_of_a_flow_that_it_does_not_have_to_the_one_that_has() {
    let mut moves = Moves::up(Mode::Gue4, |_| ());
    let peer = Peer::new(&moves.lab).unwrap();
    let mut flows: Vec<_> = (30_000..).take(FLOWS).map(|port| open(&peer, HTTP, port)).collect();
    for flow in &mut flows {
        is_redirect(&peer.ask(flow, ASK.as_bytes()).unwrap());
    }
    moves.happen();
    let mut outer = outer_to_the_second(&moves, &peer);
    let router = Wire::open(&moves.lab.hosts.router, "lan").unwrap();
    outer[6..12].copy_from_slice(&ROUTER.mac());
    moves.forget();
    for mut flow in flows {
        // As a balancer without the flow's note would send it.
        let segment = flow.frame(flag::ACK | flag::PSH, ASK.as_bytes());
        router.send(&[&outer, &segment[14..]].concat()).unwrap();
        let answer = peer.answer(&mut flow, ASK.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", moves.log()));
        is_redirect(&answer);
    }
    let places = alone(moves.places(HTTP, |packet| packet.ports.is_some_and(|(from, _)| from < 31_000)));
    assert_eq!(at(&places, "gw-1"), FLOWS, "{places:?}");
}

/// Ports that an instance has in TIME_WAIT (06 in /proc/net/tcp).
fn in_time_wait(moves: &Moves) -> usize {
    let text = moves.lab.hosts.instances[0].must("cat /proc/net/tcp").unwrap();
    text.lines().filter(|line| line.split_whitespace().nth(3) == Some("06")).count()
}

/// The client takes ports again that the old owner has in TIME_WAIT.
fn time_wait(mode: Mode) {
    let mut moves = Moves::up(mode, |_| ());
    let once = |port| {
        let mut stream = connect(port);
        let mut answer = String::new();
        stream.write_all(ASK_ONCE.as_bytes()).unwrap();
        // The proxy ends it first, and so it is the instance that waits.
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(ANSWER), "{answer}");
    };
    moves.lab.hosts.client.enter(|| (41_000..).take(FLOWS).for_each(once));
    assert!(eventually(SOON, || in_time_wait(&moves) >= FLOWS), "{}", in_time_wait(&moves));
    moves.happen();
    moves.lab.hosts.client.enter(|| (41_000..).take(FLOWS).for_each(once));
    let places = alone(moves.places(HTTP, |_| true));
    assert!(places.len() == FLOWS && at(&places, "gw-2") >= FLOWS / 8, "{places:?}");
    assert!(at(&places, "gw-1") >= FLOWS / 8, "{places:?}");
}

#[test]
fn r12_with_l2_a_port_that_the_old_owner_has_in_time_wait_is_taken_again() {
    time_wait(Mode::L2);
}

#[test]
fn r12_with_gue_a_port_that_the_old_owner_has_in_time_wait_is_taken_again() {
    time_wait(Mode::Gue4);
}

/// Data in the SYN (RFC 7413), without a cookie: each namespace would make its own.
fn fast_open(lab: &Lab) {
    lab.hosts.client.sysctl("net/ipv4/tcp_fastopen", "5").unwrap();
    for host in &lab.hosts.instances {
        // A server's, without cookies, of every listener.
        host.sysctl("net/ipv4/tcp_fastopen", "1538").unwrap();
    }
}

fn fast_opened(mode: Mode) {
    let mut moves = Moves::up(mode, fast_open);
    moves.happen();
    let path = format!("/flow/[1-{FLOWS}]");
    let at_80 = std::net::SocketAddr::new(HTTP.vip, HTTP.port);
    let curl = Curl::new(&moves.lab, "http", &default_host("gateway"), at_80, &path).with([
        "--tcp-fastopen",
        "--header",
        "Connection: close",
        "--write-out",
        "%{http_code} ",
    ]);
    let output = moves.lab.hosts.client.run_command(curl.command()).unwrap();
    assert_eq!(output.text().matches("308 ").count(), FLOWS, "{output:?}");
    let places = alone(moves.places(HTTP, |_| true));
    assert!(places.len() == FLOWS && at(&places, "gw-2") >= FLOWS / 8, "{places:?}");
    let opened = [0, 1].map(|instance| moves.counter(instance, "TcpExt TCPFastOpenPassive"));
    assert_eq!(opened, ["gw-1", "gw-2"].map(|name| at(&places, name) as u64));
}

#[test]
fn r12_with_l2_fast_open_in_a_moved_bucket_stays_where_its_syn_went() {
    fast_opened(Mode::L2);
}

#[test]
fn r12_with_gue_fast_open_in_a_moved_bucket_stays_where_its_syn_went() {
    fast_opened(Mode::Gue4);
}

/// Of one transfer. The last chunk of each waits until all changes are made.
const SIZE: usize = 80 * CHUNK;
const CHUNK: usize = 64 * 1024;
/// Between two chunks: they are not sent all at once, so that the changes meet segments and not silence.
const PACE: Duration = Duration::from_millis(50);

/// An upload whose client reads what it sends from a pipe.
fn upload(lab: &Lab, number: usize, vip: IpAddr, body: &Arc<[u8]>, release: &Arc<AtomicBool>) -> Process {
    let path = lab.folder().join(format!("pipe-{number}"));
    nix::unistd::mkfifo(&path, Permissions::S_IRWXU).unwrap();
    let options = ["--tcp-fastopen", "--header", "Expect:", "--upload-file"].map(str::to_owned);
    let curl = Curl::https(lab, &default_host("gateway"), vip, "/sink").with(options);
    let process = lab.hosts.client.spawn(curl.with([path.display().to_string()]).command()).unwrap();
    let (body, release) = (Arc::clone(body), Arc::clone(release));
    thread::spawn(move || {
        // Opens once curl does; fails where curl ends first, which the test sees by itself.
        let Ok(mut pipe) = File::options().write(true).open(&path) else { return };
        let (most, last) = body.split_at(SIZE - CHUNK);
        for chunk in most.chunks(CHUNK) {
            if pipe.write_all(chunk).is_err() {
                return;
            }
            eventually(PACE, || release.load(Ordering::Relaxed));
        }
        eventually(Duration::from_secs(60), || release.load(Ordering::Relaxed));
        let _ = pipe.write_all(last);
    });
    process
}

/// Downloads and uploads, opened fast, which an instance's coming, another's weight and a drain meet in the middle.
fn transfers(mode: Mode) {
    let mut moves = Moves::up(mode, fast_open);
    let (lab, client) = (&moves.lab, &moves.lab.hosts.client);
    let expected = (0..SIZE as u64).map(service::pattern).collect::<Arc<[u8]>>();
    let release = Arc::new(AtomicBool::new(false));
    let vips = [IpAddr::from(PRIVATE), PRIVATE6.into()].into_iter().cycle();
    let name = default_host("gateway");
    let get = |vip| {
        let path = format!("/bytes/{SIZE}?pause={}&hold", PACE.as_millis());
        client.spawn(Curl::https(lab, &name, vip, &path).with(["--tcp-fastopen"]).command()).unwrap()
    };
    let mut downloads: Vec<_> = vips.clone().take(8).map(get).collect();
    let post = |(number, vip)| upload(lab, number, vip, &expected, &release);
    let mut uploads: Vec<_> = vips.take(8).enumerate().map(post).collect();
    for download in &downloads {
        assert!(eventually(SOON, || download.stdout().len() > CHUNK), "{}", download.stderr());
    }
    let seen = || lab.services.seen().iter().filter(|seen| seen.path == "/sink").count();
    assert!(eventually(SOON, || seen() == uploads.len()), "{} uploads have begun", seen());
    let mut all = moves.all.clone();
    lab.write(&all).unwrap();
    moves.balancer.reload().unwrap();
    let spread = flows::spread(lab, client, &name, PRIVATE.into(), 443, 40).unwrap();
    assert_eq!(spread.len(), 2, "{spread:?}");
    all.instance[0].weight = 20;
    lab.write(&all).unwrap();
    moves.balancer.reload().unwrap();
    all.instance[0].admin_state = "down".to_owned();
    lab.write(&all).unwrap();
    moves.balancer.reload().unwrap();
    let spread = flows::spread(lab, client, &name, PRIVATE.into(), 443, 20).unwrap();
    assert_eq!(spread.keys().collect::<Vec<_>>(), ["gw-2"], "{spread:?}");
    let running = |process: &mut Process| process.ended().unwrap().is_none();
    assert!(downloads.iter_mut().chain(&mut uploads).all(running), "one ended before the changes did");
    release.store(true, Ordering::Relaxed);
    lab.services.release();
    let output = |mut process: Process| {
        let output = process.wait(Duration::from_secs(60)).unwrap();
        assert!(output.ok(), "{}\n{}", output.stderr, moves.log());
        output.stdout
    };
    for body in downloads.into_iter().map(output) {
        assert!(body == *expected, "{} of {SIZE} bytes, not those sent", body.len());
    }
    let sunk = Sunk { bytes: SIZE as u64, fingerprint: service::fingerprint(&expected) };
    for body in uploads.into_iter().map(output) {
        assert_eq!(serde_json::from_slice::<Sunk>(&body).unwrap(), sunk);
    }
}

#[test]
fn r12_with_l2_transfers_go_on_while_instances_come_and_go() {
    transfers(Mode::L2);
}

#[test]
fn r12_with_gue_transfers_go_on_while_instances_come_and_go() {
    transfers(Mode::Gue6);
}

#[test]
fn r12_with_ipip_transfers_go_on_while_instances_come_and_go() {
    transfers(Mode::Ipip4);
}

#[test]
fn r12_with_nat_transfers_go_on_while_instances_come_and_go() {
    transfers(Mode::Nat);
}
