//! `gateway run`: balancer and instance on one host; and R25, a host that connects to the VIP it serves.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lab::{
    address::{OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6},
    config::{Config, default_host},
    control,
    curl::Curl,
    gateway::{Gateway, gateway},
    knock,
    lab::{Lab, ROLES},
    scan,
    snapshot::Snapshot,
    wait::eventually,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];

/// A lab whose only instance is the balancer's host.
fn one_host() -> (Lab, Config) {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().probed();
    config.instance[0].dip = std::mem::take(&mut config.balancer.address);
    (lab, config)
}

fn run(lab: &Lab, config: &Config) -> Gateway {
    let mut command = gateway("run").unwrap();
    command.arg("--config").arg(lab.write(config).unwrap());
    Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap()
}

fn serves_all(lab: &Lab) {
    for vip in VIPS {
        for role in ROLES {
            let answer = Curl::https(lab, &default_host(role), vip, "/").send(&lab.hosts.client).unwrap();
            assert_eq!(answer.seen().unwrap().service, role, "{vip}");
        }
    }
}

#[test]
fn r20_run_serves_the_private_vip_and_guards_the_public_one() {
    let (lab, config) = one_host();
    let _gateway = run(&lab, &config);
    serves_all(&lab);
    for vip in [PUBLIC.into(), PUBLIC6.into()] {
        let at = SocketAddr::new(vip, 3443);
        let answer =
            Curl::new(&lab, "https", &default_host("management"), at, "/").send(&lab.hosts.outside).unwrap();
        assert_eq!(answer.seen().unwrap().service, "management");
        let scan = scan::ports(&lab.hosts.outside, OUTSIDE, vip, 3443).unwrap();
        assert_eq!((scan.open, scan.refused), (BTreeSet::from([3443]), BTreeSet::new()));
        assert_eq!(knock::knock(&lab.hosts.outside, OUTSIDE, vip, 3443).unwrap(), []);
    }
}

#[test]
fn r06_run_leaves_the_host_as_it_was() {
    let (lab, config) = one_host();
    for signal in [Signal::SIGINT; 2] {
        let before = Snapshot::of(&lab.hosts.balancer).unwrap();
        let mut gateway = run(&lab, &config);
        let output = gateway.end(signal).unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}: {}", output.stderr);
        assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0], "{signal}");
    }
}

#[test]
fn run_starts_a_process_again_that_died_and_the_other_does_not_notice() {
    let (lab, config) = one_host();
    let gateway = run(&lab, &config);
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", gateway.id());
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<BTreeSet<_>>()
    };
    let before = children();
    assert_eq!(before.len(), 2);
    for pid in &before {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        let again = || children().len() == 2 && !children().contains(pid);
        assert!(eventually(Duration::from_secs(20), again), "{}", gateway.log());
        let served = || {
            Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap().status
                == 200
        };
        assert!(eventually(Duration::from_secs(20), served), "{}", gateway.log());
    }
    assert!(before.is_disjoint(&children()));
}

#[test]
fn a_reload_does_not_end_a_process_that_is_just_starting() {
    let (lab, config) = one_host();
    let mut gateway = run(&lab, &config);
    let path = format!("/proc/{0}/task/{0}/children", gateway.id());
    let children = || {
        let text = std::fs::read_to_string(&path).unwrap();
        text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<Vec<_>>()
    };
    // The balancer is the first child, and comes back as the last one.
    for starting in ["balancing", "listening on 10.0.0.5:443"] {
        let so_often = |log: &str| log.matches(starting).count();
        let before = so_often(&gateway.log());
        kill(Pid::from_raw(children()[0]), Signal::SIGKILL).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while children().len() != 1 && Instant::now() < end {}
        while children().len() != 2 && Instant::now() < end {}
        // Three times, as few as the service manager's socket holds, over the moment in which it has no handler yet.
        for _ in 0..3 {
            gateway.signal(Signal::SIGHUP).unwrap();
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_millis(1) {}
        }
        let started = || so_often(&gateway.log()) > before;
        assert!(eventually(Duration::from_secs(20), started), "{}", gateway.log());
    }
    assert!(!gateway.log().contains("killed by SIGHUP"), "{}", gateway.log());
    let served = || {
        Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap().status
            == 200
    };
    assert!(eventually(Duration::from_secs(20), served), "{}", gateway.log());
}

#[test]
fn r25_run_answers_its_own_host() {
    let (lab, config) = one_host();
    let _gateway = run(&lab, &config);
    hairpin(&lab, &lab.hosts.balancer);
}

#[test]
fn r25_an_instance_gets_an_answer_from_the_vip_it_serves_alone_or_with_others() {
    for instances in [1, 3] {
        let lab = Lab::raise(instances).unwrap();
        let _running = lab.start(&lab.config()).unwrap();
        for host in &lab.hosts.instances {
            hairpin(&lab, host);
        }
    }
}

/// Every time, not only when the ring happens to point back.
fn hairpin(lab: &Lab, host: &lab::host::Host) {
    for vip in VIPS {
        for _ in 0..10 {
            let answer = Curl::https(lab, &default_host("gateway"), vip, "/").send(host).unwrap();
            assert_eq!(answer.status, 200, "{} to {vip}: {answer:?}", host.name());
        }
    }
}

/// The processes of `gateway run`, as they were started.
fn children(gateway: &Gateway) -> Vec<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.id())).unwrap();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

#[test]
fn clients_that_wait_while_the_proxy_is_gone_are_served_by_the_next() {
    let (lab, config) = one_host();
    let gateway = run(&lab, &config);
    // Nothing is accepted from here on, and then the process is gone.
    let proxy = children(&gateway)[1];
    kill(proxy, Signal::SIGSTOP).unwrap();
    let at = SocketAddr::new(PRIVATE.into(), 80);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", default_host("gateway"));
    let mut clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = lab.hosts.client.enter(|| TcpStream::connect(at)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            client
        })
        .collect();
    kill(proxy, Signal::SIGKILL).unwrap();
    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer:?}");
    }
    assert!(children(&gateway).len() == 2 && !children(&gateway).contains(&proxy));
}

#[test]
fn a_reload_is_relayed_to_both_and_an_apply_tells_how_it_ended() {
    let (lab, mut config) = one_host();
    let mut gateway = run(&lab, &config);
    let path = lab.folder().join("gateway.toml");
    let ask = |line: &str| control::gateway(&lab.hosts.balancer, line, &path).unwrap();
    let status = || control::json(&lab.hosts.balancer, "status", &path).unwrap();
    let taken_up = |gateway: &Gateway| gateway.log().matches("gateway.toml is taken up").count();
    let serves = |host: &str, gateway: &Gateway| {
        let answers = || {
            let answer = Curl::https(&lab, host, PRIVATE, "/").send(&lab.hosts.client).unwrap();
            answer.status == 200
        };
        assert!(eventually(Duration::from_secs(20), answers), "{host}: {}", gateway.log());
    };
    assert_eq!(status()["generation"], 1);
    // SIGHUP of the supervisor: it is ready again once both are.
    let before = taken_up(&gateway);
    config.balancer.drain = "2h".to_owned();
    lab.write(&config).unwrap();
    gateway.reload().unwrap();
    assert_eq!(status()["generation"], 2);
    assert_eq!(taken_up(&gateway), before + 2, "{}", gateway.log());
    // `gateway apply`, which `systemctl reload` is: all of it is done when it returns, and the proxy follows.
    config.balancer.drain = "3h".to_owned();
    lab.write(&config).unwrap();
    let apply = ask("apply --confirm");
    assert_eq!((apply.status.code(), &status()["generation"]), (Some(0), &3.into()), "{}", apply.stderr);
    assert!(eventually(Duration::from_secs(20), || taken_up(&gateway) == before + 4), "{}", gateway.log());
    // One with a fault is refused by both, and all goes on.
    let text = toml::to_string(&config).unwrap().replace("weight = 100", "wieght = 100");
    lab.write_text(&text).unwrap();
    assert_eq!(ask("apply").status.code(), Some(2));
    gateway.reload().unwrap();
    assert_eq!(
        (&status()["generation"], &status()["configuration"]["last_apply"]["ok"]),
        (&3.into(), &false.into())
    );
    assert!(gateway.log().contains("gateway.toml is not taken up"), "{}", gateway.log());
    assert_eq!(ask("status").status.code(), Some(1), "what is wrong is told by the exit code too");
    lab.write(&config).unwrap();
    let apply = ask("apply");
    assert_eq!(apply.status.code(), Some(0), "{}", apply.stderr);
    assert_eq!(status()["configuration"]["last_apply"]["ok"], true);
    serves(&default_host("gateway"), &gateway);
}

#[test]
fn an_upgrade_of_run_lets_a_new_proxy_take_over() {
    let (lab, config) = one_host();
    let mut gateway = run(&lab, &config);
    let before = children(&gateway);
    gateway.signal(Signal::SIGUSR2).unwrap();
    let is_new = || {
        let now = children(&gateway);
        now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
    };
    assert!(eventually(Duration::from_secs(60), is_new), "{}", gateway.log());
    assert!(gateway.log().contains("has taken over"), "{}", gateway.log());
    let served = || {
        let curl = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/");
        curl.send(&lab.hosts.client).unwrap().status == 200
    };
    assert!(eventually(Duration::from_secs(30), served), "{}", gateway.log());
    let output = gateway.end(Signal::SIGINT).unwrap();
    assert!(output.ok(), "{}", output.stderr);
}
