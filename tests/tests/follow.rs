//! What happens on the balancer's network is followed by the kernel's events, and not when it looks again every 5 s.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use lab::{
    address::{CLIENT, PRIVATE, ROUTER, Station},
    config::default_host,
    control,
    curl::Curl,
    lab::{Lab, Running},
    mode::Mode,
    snapshot::Snapshot,
    wait::eventually,
};
use nix::sys::signal::Signal;

/// A second, and the machine is shared. Four in a row would be met by looking every 5 s once in 16 times.
const AT_ONCE: Duration = Duration::from_millis(2_500);
const PATIENCE: Duration = Duration::from_secs(90);

fn is_served(lab: &Lab) -> bool {
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, "/").with(["--max-time", "5"]);
    curl.send(&lab.hosts.client).is_ok_and(|answer| answer.status == 200)
}

fn logged(running: &Running, what: &str) -> usize {
    running.balancer.log().matches(what).count()
}

/// That the log gets one more line with that soon.
fn is_followed(running: &Running, what: &str, change: impl FnOnce()) {
    let before = logged(running, what);
    let start = Instant::now();
    change();
    let is_there = eventually(AT_ONCE, || logged(running, what) > before);
    assert!(is_there, "{what:?} not within {AT_ONCE:?}:\n{}", running.balancer.log());
    eprintln!("{what}: {:?}", start.elapsed());
}

#[test]
fn r12_another_mac_address_is_followed_at_once() {
    let lab = Lab::raise(1).unwrap();
    let running = lab.start(&lab.config()).unwrap();
    let instance = lab.instance("gw-1").unwrap();
    // It says so itself, as failover does.
    instance.sysctl("net/ipv4/conf/eth0/arp_notify", "1").unwrap();
    for last in 0x71..0x75 {
        let mac = format!("02:00:00:00:00:{last:02x}");
        let ip = Station::instance(1).v4();
        is_followed(&running, &format!("gw-1 ({ip}) is at {mac}"), || {
            instance.ip([format!("link set eth0 address {mac}")]).unwrap();
        });
        assert!(eventually(AT_ONCE, || is_served(&lab)), "{}", running.balancer.log());
    }
}

#[test]
fn r12_another_route_is_followed_at_once() {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config().forwarding(Mode::Ipip4)).unwrap();
    let to = Station::instance(1).v4();
    for hop in [ROUTER.v4(), CLIENT.v4()] {
        // By it from the moment at which it has answered.
        is_followed(&running, &format!("the router ({hop}) is at"), || {
            lab.hosts.balancer.ip([format!("route add {to}/32 via {hop}")]).unwrap();
        });
        is_followed(&running, &format!("gw-1 ({to}) is at"), || {
            lab.hosts.balancer.ip([format!("route delete {to}/32")]).unwrap();
        });
    }
    // It is lost while others are there: that is said, and it is gone the old way.
    let lost = format!("there is no route to {to}");
    is_followed(&running, &lost, || {
        lab.hosts.balancer.ip([format!("route add unreachable {to}/32")]).unwrap();
    });
    let file = lab.folder().join("gateway.toml");
    let status = control::json(&lab.hosts.balancer, "status", &file).unwrap();
    let dips = status["instances"][0]["dips"].as_array().unwrap();
    let lost = dips.iter().find(|dip| dip["address"] == to.to_string()).unwrap();
    assert_eq!((&lost["way"], &lost["resolved"]), (&"no-route".into(), &true.into()), "{lost}");
}

#[test]
fn an_interface_that_is_renamed_or_goes_down_and_up_is_served_on() {
    let lab = Lab::raise(1).unwrap();
    let mut running = lab.start(&lab.config()).unwrap();
    is_followed(&running, "eth0 is called lan0 now", || {
        lab.hosts.balancer.ip(["link set eth0 name lan0"]).unwrap();
    });
    assert!(is_served(&lab), "{}", running.balancer.log());
    // The file still has the old name, and is taken up.
    let mut config = lab.config();
    config.instance[0].weight = 7;
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    let is_taken_up = || logged(&running, "is taken up") == 1;
    assert!(eventually(PATIENCE, is_taken_up), "{}", running.balancer.log());
    is_followed(&running, "lan0 is down: no VIP can be reached through it", || {
        lab.hosts.balancer.ip(["link set lan0 down"]).unwrap();
    });
    is_followed(&running, "lan0 is up again", || {
        lab.hosts.balancer.ip(["link set lan0 up"]).unwrap();
    });
    assert!(eventually(PATIENCE, || is_served(&lab)), "{}", running.balancer.log());
    lab.hosts.balancer.ip(["link set lan0 name eth0"]).unwrap();
}

/// A connection that stays open, and has asked once.
fn connected(lab: &Lab) -> TcpStream {
    let at = SocketAddr::new(PRIVATE.into(), 80);
    let mut stream = lab.hosts.client.enter(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut stream);
    stream
}

fn ask(stream: &mut TcpStream) {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", default_host("gateway"));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 308 "), "{:?}", String::from_utf8_lossy(&answer[..read]));
}

#[test]
fn an_interface_that_is_deleted_is_served_again_once_one_of_its_name_is_there() {
    let mut lab = Lab::raise(2).unwrap();
    let mut config = lab.config().probed();
    // By programs of the interface, which are gone with it too.
    config.probe.via = Some("vip".to_owned());
    config.probe.interval = Some("1s".to_owned());
    let mut running = lab.start(&config).unwrap();
    let file = lab.write(&config).unwrap();
    let status = |lab: &Lab| control::json(&lab.hosts.balancer, "status", &file).unwrap();
    let is_well = |lab: &Lab| {
        let status = status(lab);
        status["state"] == "serving"
            && status["instances"].as_array().unwrap().iter().all(|one| one["health"]["state"] == "up")
    };
    assert!(eventually(PATIENCE, || is_well(&lab)), "{}", running.balancer.log());
    let mut kept = connected(&lab);
    for _ in 0..2 {
        lab.hosts.unplug_balancer().unwrap();
        let is_gone = |lab: &Lab| status(lab)["interfaces"][0]["present"] == false;
        assert!(eventually(PATIENCE, || is_gone(&lab)), "{}", running.balancer.log());
        let said = status(&lab);
        assert_eq!(said["state"], "not serving", "{said}");
        for vip in said["vips"].as_array().unwrap() {
            assert_eq!(
                (&vip["ready"], &vip["reason"]),
                (&false.into(), &"the interface eth0 is gone".into()),
                "{vip}"
            );
        }
        lab.hosts.plug_balancer().unwrap();
        assert!(
            eventually(PATIENCE, || !is_gone(&lab) && is_well(&lab)),
            "{}\n{}",
            status(&lab),
            running.balancer.log()
        );
        assert!(is_served(&lab), "{}", running.balancer.log());
        // What a flow lost on the way, its ends have sent again.
        ask(&mut kept);
    }
    // A start goes on from there, and an end leaves nothing.
    running.balancer.end(Signal::SIGKILL).unwrap();
    running.balancer = lab.balance(&file).unwrap();
    ask(&mut kept);
    running.balancer.end(Signal::SIGINT).unwrap();
    let left = Snapshot::of(&lab.hosts.balancer).unwrap();
    let addresses = lab.hosts.balancer.must("ip -oneline address show dev eth0").unwrap();
    assert!(!left.has_xdp() && !addresses.contains(&format!(" {PRIVATE}/")), "{addresses}");
    let cookie = lab.hosts.balancer.cookie().unwrap();
    assert!(!Path::new(&format!("/sys/fs/bpf/gateway/contoso-{cookie}")).exists());
}

#[test]
fn a_neighbour_that_fails_is_said_and_asked_for_until_it_is_back() {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config()).unwrap();
    let ip = Station::instance(1).v4();
    let file = lab.folder().join("gateway.toml");
    let way = || {
        let status = control::json(&lab.hosts.balancer, "status", &file).unwrap();
        let dips = status["instances"][0]["dips"].as_array().unwrap();
        let dip = dips.iter().find(|dip| dip["address"] == ip.to_string()).unwrap().clone();
        (dip["way"].as_str().unwrap().to_owned(), dip["failed_since"].as_str().map(ToOwned::to_owned))
    };
    assert_eq!(way(), ("resolved".to_owned(), None));
    lab.instance("gw-1").unwrap().ip(["link set eth0 down"]).unwrap();
    let said = || logged(&running, &format!("gw-1 ({ip}) does not answer on eth0 any more")) == 1;
    assert!(eventually(PATIENCE, said), "{}", running.balancer.log());
    let (word, since) = way();
    assert_eq!(word, "failed");
    let ago = humantime::parse_rfc3339(&since.unwrap()).unwrap().elapsed().unwrap();
    assert!(ago < PATIENCE, "{ago:?}");
    let trouble = control::json(&lab.hosts.balancer, "status", &file).unwrap()["trouble"].to_string();
    assert!(trouble.contains(&format!("the next hop to gw-1 ({ip}) does not answer since ")), "{trouble}");
    lab.instance("gw-1").unwrap().ip(["link set eth0 up"]).unwrap();
    let back = || logged(&running, &format!("gw-1 ({ip}) answers again")) == 1;
    assert!(eventually(PATIENCE, back), "{}", running.balancer.log());
    assert_eq!(way(), ("resolved".to_owned(), None));
}
