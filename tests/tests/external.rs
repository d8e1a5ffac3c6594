//! R4: the external mode, and R7: switching to it and back under living flows.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use lab::{
    address::{PRIVATE, PUBLIC, PUBLIC6},
    config::{Config, default_host},
    control,
    curl::{Answer, Curl},
    gateway::{Gateway, gateway},
    host::Host,
    lab::{Lab, ROLES, Running},
    mode::Mode,
    process::Process,
    service::pattern,
    tls::{UNRECOGNIZED_NAME, client_hello, exchange},
    wait::eventually,
};
use serde_json::Value;

const VIPS: [IpAddr; 2] = [IpAddr::V4(PUBLIC), IpAddr::V6(PUBLIC6)];
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a download that is held behind its first 64 KiB: the rest is more than TCP sends without an acknowledgement by then.
const SIZE: usize = 8 * 64 * 1024;

fn at(lab: &Lab, from: &Host, role: &str, vip: IpAddr, port: u16) -> Answer {
    let curl = Curl::new(lab, "https", &default_host(role), SocketAddr::new(vip, port), "/");
    curl.with(["--connect-timeout", "1"]).send(from).unwrap()
}

/// All roles on 443, a redirect on 80, management alone on 3443; and inside as ever.
fn serves_everyone(lab: &Lab) {
    let outside = &lab.hosts.outside;
    for vip in VIPS {
        for role in ROLES {
            let answer = at(lab, outside, role, vip, 443);
            assert_eq!(answer.seen().unwrap().service, role, "{vip}");
        }
        let name = default_host("gateway");
        let plain = Curl::new(lab, "http", &name, SocketAddr::new(vip, 80), "/a?b").send(outside).unwrap();
        assert_eq!(
            (plain.status, plain.header("location")),
            (308, Some(format!("https://{name}/a?b").as_str()))
        );
        assert_eq!(at(lab, outside, "management", vip, 3443).seen().unwrap().service, "management");
        for (name, port) in [(Some(name.as_str()), 3443), (Some("nobody.example"), 443), (None, 443)] {
            let alert = exchange(outside, SocketAddr::new(vip, port), &client_hello(name)).unwrap();
            assert_eq!(alert, UNRECOGNIZED_NAME, "{name:?} at {vip} {port}");
        }
        let plain =
            Curl::new(lab, "http", "nobody.example", SocketAddr::new(vip, 80), "/").send(outside).unwrap();
        assert_eq!((plain.status, plain.body.len()), (421, 0), "{plain:?}");
    }
    assert_eq!(at(lab, &lab.hosts.client, "portal", PRIVATE.into(), 443).seen().unwrap().service, "portal");
    assert_eq!(
        at(lab, outside, "portal", PRIVATE.into(), 443).exit,
        28,
        "the private VIP answers inside only"
    );
}

/// Silence at every port but 3443.
fn serves_management_alone(lab: &Lab) {
    for vip in VIPS {
        for port in [443, 80] {
            assert_eq!(at(lab, &lab.hosts.outside, "gateway", vip, port).exit, 28, "{vip} {port}");
        }
        assert_eq!(at(lab, &lab.hosts.outside, "management", vip, 3443).status, 200);
    }
}

#[test]
fn r4_clients_enter_on_the_public_vip_and_inside_all_stays() {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config().probed();
    "external".clone_into(&mut config.service.mode);
    config.balancer.management_sources = vec!["198.51.100.0/24".to_owned(), "2001:db8:100::/64".to_owned()];
    let mut running = lab.start(&config).unwrap();
    serves_everyone(&lab);
    // The list is of management alone.
    config.balancer.management_sources = vec!["192.0.2.0/24".to_owned()];
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    assert_eq!(at(&lab, &lab.hosts.outside, "management", PUBLIC.into(), 3443).exit, 28);
    // And of all ports: at 443 the name is unknown to others, once the proxies have the file.
    running.proxies.values_mut().for_each(|proxy| proxy.reload().unwrap());
    let refused = at(&lab, &lab.hosts.outside, "management", PUBLIC.into(), 443);
    assert!((refused.exit, refused.error.contains("unrecognized name")) == (35, true), "{refused:?}");
    assert_eq!(at(&lab, &lab.hosts.outside, "gateway", PUBLIC.into(), 443).status, 200);
    assert_eq!(at(&lab, &lab.hosts.client, "management", PRIVATE.into(), 443).status, 200);
}

/// A download that has begun and waits for the services to go on.
struct Held {
    curl: Process,
    body: PathBuf,
}

impl Held {
    fn begin(lab: &Lab, from: &Host, role: &str, (vip, port): (IpAddr, u16)) -> Self {
        let body = lab.folder().join(format!("held-{}-{vip}-{port}", from.name()));
        let path = format!("/bytes/{SIZE}?hold=first");
        let curl = Curl::new(lab, "https", &default_host(role), SocketAddr::new(vip, port), &path);
        let curl = curl.with(["--output", body.to_str().unwrap()]);
        let held = Self { curl: from.spawn(curl.command()).unwrap(), body };
        assert!(eventually(PATIENCE, || held.received() > 0), "{}", held.curl.stderr());
        held
    }

    fn received(&self) -> u64 {
        std::fs::metadata(&self.body).map_or(0, |file| file.len())
    }

    /// Whether it came whole, once it was let go.
    fn end(&mut self) -> Result<(), String> {
        let output = self.curl.wait(PATIENCE).unwrap();
        let body = std::fs::read(&self.body).unwrap();
        let whole = body.len() == SIZE && (0..).zip(&body).all(|(place, byte)| pattern(place) == *byte);
        if output.ok() && whole { Ok(()) } else { Err(output.stderr) }
    }
}

/// A connection whose client has had its answer.
struct Idle(TcpStream);

impl Idle {
    fn begin(lab: &Lab, to: SocketAddr) -> Self {
        let mut stream = lab.hosts.outside.enter(|| TcpStream::connect(to)).unwrap();
        let name = default_host("gateway");
        write!(stream, "GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 308"), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    /// The proxy has said so, and the client has heard it, though what it sends is dropped.
    fn is_ended(&mut self) {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(self.0.read(&mut [0; 16]).unwrap(), 0);
    }
}

/// The programs of an installation, and how they are told that their file has changed.
trait Programs {
    /// R7: one apply, and the proxies' reload where they are elsewhere: before ports open, after they close.
    fn apply(&mut self, lab: &Lab, config: &Config) -> Value;
}

impl Programs for Running {
    fn apply(&mut self, lab: &Lab, config: &Config) -> Value {
        let file = lab.write(config).unwrap();
        let opens = config.service.mode == "external";
        let mut reload = || self.proxies.values_mut().for_each(|proxy| proxy.reload().unwrap());
        if opens {
            reload();
        }
        let applied = control::json(&lab.hosts.balancer, "apply --confirm", &file).unwrap();
        if !opens {
            reload();
        }
        applied
    }
}

/// `gateway run`
impl Programs for Gateway {
    fn apply(&mut self, lab: &Lab, config: &Config) -> Value {
        control::json(&lab.hosts.balancer, "apply --confirm", &lab.write(config).unwrap()).unwrap()
    }
}

/// Asks on the private VIP, and for management on the public one, over and over while `work` runs; nothing may fail.
fn under_load<T>(lab: &Lab, work: impl FnOnce() -> T) -> T {
    let (over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for (from, role, vip, port) in [
            (&lab.hosts.client, "gateway", IpAddr::V4(PRIVATE), 443),
            (&lab.hosts.outside, "management", IpAddr::V4(PUBLIC), 3443),
        ] {
            let (over, asked) = (&over, &asked);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = at(lab, from, role, vip, port);
                    assert_eq!(answer.status, 200, "{vip} {port}: {answer:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let enough = |more| {
            let before = asked.load(Ordering::Relaxed);
            assert!(eventually(PATIENCE, || asked.load(Ordering::Relaxed) >= before + more));
        };
        enough(4);
        let outcome = work();
        enough(4);
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

fn switch(lab: &Lab, programs: &mut impl Programs, mut config: Config) {
    let file = lab.folder().join("gateway.toml");
    let program = || control::json(&lab.hosts.balancer, "status", &file).unwrap()["program"].clone();
    serves_management_alone(lab);
    let before = program();

    // R8: it stands out, and nothing happens before it is applied.
    "external".clone_into(&mut config.service.mode);
    lab.write(&config).unwrap();
    let plan = control::gateway(&lab.hosts.balancer, "plan --exit-code", &file).unwrap();
    let text = plan.text();
    for part in [
        "!~ service mode: internal -> external",
        "!+ vip 203.0.113.5 open to everyone: TCP 443",
        "!+ vip 203.0.113.5 open to everyone: TCP 80",
        "\n0 of 65,537 buckets would move",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
    assert_eq!(plan.status.code(), Some(3));
    serves_management_alone(lab);

    let mut inside = Held::begin(lab, &lab.hosts.client, "gateway", (PRIVATE.into(), 443));
    let mut management = Held::begin(lab, &lab.hosts.outside, "management", (PUBLIC.into(), 3443));
    let applied = under_load(lab, || programs.apply(lab, &config));
    assert_eq!((&applied["changed"], &applied["buckets"]), (&true.into(), &0.into()), "{applied}");
    // With `gateway run` the proxy hears of it from the balancer.
    let opened = || at(lab, &lab.hosts.outside, "gateway", PUBLIC6.into(), 443).status == 200;
    assert!(eventually(PATIENCE, opened));
    serves_everyone(lab);
    let again = programs.apply(lab, &config);
    assert_eq!(again["changed"], false, "{again}");

    let mut public = Held::begin(lab, &lab.hosts.outside, "gateway", (PUBLIC.into(), 443));
    let mut idle = Idle::begin(lab, (PUBLIC, 80).into());
    "internal".clone_into(&mut config.service.mode);
    let applied = under_load(lab, || programs.apply(lab, &config));
    assert_eq!((&applied["changed"], &applied["buckets"]), (&true.into(), &0.into()), "{applied}");
    idle.is_ended();
    serves_management_alone(lab);
    assert_eq!(program(), before, "the program is where it was");

    // What began inside, or at the port that stays open, comes to its end.
    lab.services.release();
    inside.end().unwrap();
    management.end().unwrap();
    // R20 is for every packet, so this one does not: its client gets what was on the way, and no more.
    public.end().unwrap_err();
}

fn on_hosts(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().probed().forwarding(mode);
    let mut running = lab.start(&config).unwrap();
    switch(&lab, &mut running, config);
}

#[test]
fn r4_r7_the_mode_is_switched_there_and_back_under_living_flows() {
    on_hosts(Mode::L2);
}

#[test]
fn r4_r7_the_mode_is_switched_there_and_back_with_gue() {
    on_hosts(Mode::Gue4);
}

#[test]
fn r4_r7_the_mode_is_switched_there_and_back_with_nat() {
    on_hosts(Mode::Nat);
}

#[test]
fn r4_r7_one_apply_switches_the_whole_of_a_single_host() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().probed();
    config.instance[0].dip = std::mem::take(&mut config.balancer.address);
    let mut command = gateway("run").unwrap();
    command.arg("--config").arg(lab.write(&config).unwrap());
    let mut run = Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
    switch(&lab, &mut run, config);
}
