//! R81, R84: probes that go the way of clients' packets find what a probe of the instance's own address does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use aya::programs::{SchedClassifier, TcAttachType};
use lab::{
    address::{PRIVATE, PRIVATE6},
    config::Config,
    control,
    gateway::{Gateway, gateway},
    host::Host,
    lab::Lab,
    mode::Mode,
    wait::eventually,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Some probes, each of a TLS handshake, on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(60);
const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];
/// Where the proxy answers probes.
const PROBE_PORT: u16 = 8080;

fn config(lab: &Lab, mode: Mode, via: &str) -> Config {
    let mut config = lab.config().forwarding(mode).probed();
    let text = |text: &str| Some(text.to_owned());
    config.probe.via = text(via);
    config.probe.interval = text("1s");
    config.probe.timeout = text("1s");
    config.probe.rise = Some(1);
    config.probe.fall = Some(2);
    config
}

/// What the balancer has logged that has a piece of text in it.
fn said(balancer: &Gateway, piece: &str) -> Vec<String> {
    balancer.log().lines().filter(|line| line.contains(piece)).map(ToOwned::to_owned).collect()
}

/// Waits until it says so once more than it has, and gives the line.
fn says(balancer: &Gateway, before: usize, piece: &str) -> String {
    assert!(eventually(SOON, || said(balancer, piece).len() > before), "{piece}:\n{}", balancer.log());
    said(balancer, piece).remove(before)
}

/// Something that answers probes of the instance's own addresses, as a proxy does whose other listeners are gone.
fn answer_probes(host: &Host, dips: &[IpAddr]) {
    for dip in dips {
        let at = SocketAddr::new(*dip, PROBE_PORT);
        let listener = host.enter(|| TcpListener::bind(at)).unwrap();
        // It ends with the test's process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // A prober that goes away in the middle is no concern of this.
                let _ = stream.read(&mut [0; 4096]);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
    }
}

/// One VIP is not there, in `l2` and in tunnels, where the instance has it by itself.
fn a_missing_vip_is_found(lab: &Lab, balancer: &Gateway) {
    let instance = lab.instance("gw-1").unwrap();
    for vip in VIPS {
        let (down, up) = (said(balancer, "gw-1 is down").len(), said(balancer, "gw-1 is up").len());
        let length = if vip.is_ipv4() { 32 } else { 128 };
        instance.ip([format!("address del {vip}/{length} dev lo")]).unwrap();
        let line = says(balancer, down, "gw-1 is down");
        assert!(line.contains(&SocketAddr::new(vip, 443).to_string()), "{line}");
        instance.ip([format!("address add {vip}/{length} dev lo")]).unwrap();
        says(balancer, up, "gw-1 is up");
    }
}

/// Nothing listens on the VIP's port, and with a tunnel nobody takes packets out of it, but probes of the instance's own
/// address are answered.
fn a_closed_service_is_found(lab: &Lab, mode: Mode, balancer: &mut Gateway, proxy: Gateway) {
    let (down, up) = (said(balancer, "gw-1 is down").len(), said(balancer, "gw-1 is up").len());
    proxy.stop().unwrap();
    let instance = lab.instance("gw-1").unwrap();
    let by_instance = config(lab, mode, "instance");
    answer_probes(instance, &by_instance.instance[0].dip);
    if mode == Mode::L2 {
        instance.ip(VIPS.map(|vip| format!("address add {vip} dev lo"))).unwrap();
    }
    let line = says(balancer, down, "gw-1 is down");
    let expected = match mode {
        Mode::L2 | Mode::Nat => {
            ["connection refused", "the connection ended", "no connection within"].as_slice()
        }
        _ => ["no connection within"].as_slice(),
    };
    assert!(expected.iter().any(|error| line.contains(error)), "{mode:?}: {line}");

    lab.write(&by_instance).unwrap();
    balancer.reload().unwrap();
    let line = says(balancer, up, "gw-1 is up");
    assert!(line.contains(&PROBE_PORT.to_string()), "{line}");
}

fn probes_through_the_vip(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let mut running = lab.start(&config(&lab, mode, "vip")).unwrap();
    for name in ["gw-1", "gw-2"] {
        says(&running.balancer, 0, &format!("{name} is up"));
    }
    if mode != Mode::Nat {
        a_missing_vip_is_found(&lab, &running.balancer);
    }
    let proxy = running.proxies.remove("gw-1").unwrap();
    a_closed_service_is_found(&lab, mode, &mut running.balancer, proxy);
    assert_eq!(said(&running.balancer, "gw-2 is down"), [""; 0]);
    drop(running);
    assert_eq!(programs(&lab), [0, 0], "they go with the process");
}

#[test]
fn r81_through_the_vip_in_l2() {
    probes_through_the_vip(Mode::L2);
}

#[test]
fn r81_through_the_vip_in_nat() {
    probes_through_the_vip(Mode::Nat);
}

#[test]
fn r81_through_the_vip_in_ipip() {
    probes_through_the_vip(Mode::Ipip4);
    probes_through_the_vip(Mode::Ipip6);
}

#[test]
fn r81_through_the_vip_in_gue() {
    probes_through_the_vip(Mode::Gue4);
    probes_through_the_vip(Mode::Gue6);
}

fn restarted_with_probes_through_the_vip(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let config = config(&lab, mode, "vip");
    let mut running = lab.start(&config).unwrap();
    let path = lab.write(&config).unwrap();
    for name in ["gw-1", "gw-2"] {
        says(&running.balancer, 0, &format!("{name} is up"));
    }
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        running.balancer.end(signal).unwrap();
        assert_eq!(programs(&lab), [0, 0], "{mode:?} {signal}: they go with the process");
        running.balancer = lab.balance(&path).unwrap();
        assert_eq!(programs(&lab), if mode == Mode::Nat { [0, 0] } else { [1, 1] });
        let health = |number: usize| {
            let status = control::json(&lab.hosts.balancer, "status", &path).unwrap();
            let health = &status["instances"][number]["health"];
            (health["state"].clone(), health["succeeded"].as_u64().unwrap(), health["failed"].clone())
        };
        for number in 0..2 {
            // Who was up is taken for granted until it is probed.
            let goes_on = || health(number).0 == "up" && health(number).1 >= 2;
            assert!(
                eventually(SOON, goes_on),
                "{mode:?} {signal}: {:?}\n{}",
                health(number),
                running.balancer.log()
            );
        }
        assert_eq!(said(&running.balancer, " is down"), [""; 0], "{mode:?} {signal}");
    }
}

#[test]
fn r12_probes_through_the_vip_go_on_after_a_restart() {
    for mode in [Mode::L2, Mode::Gue4, Mode::Nat] {
        restarted_with_probes_through_the_vip(mode);
    }
}

/// What the balancer says of connections through a VIP to gw-1: tried, answered, the last error.
fn path(lab: &Lab, file: &Path, vip: IpAddr) -> Option<(u64, u64, Option<String>)> {
    let mut command = gateway("status").unwrap();
    command.arg("--json").arg("--config").arg(file);
    let output = lab.hosts.balancer.run_command(command).unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let instance = status["instances"].as_array()?.iter().find(|one| one["name"] == "gw-1")?;
    let address = SocketAddr::new(vip, 443).to_string();
    let path = instance["data_path"]["vips"].as_array()?.iter().find(|one| one["vip"] == address)?;
    let error = path["last_error"].as_str().map(ToOwned::to_owned);
    Some((path["tried"].as_u64()?, path["answered"].as_u64()?, error))
}

/// Programs of TC on the balancer's interface, in and out.
fn programs(lab: &Lab) -> [usize; 2] {
    let count = |to| SchedClassifier::query_tcx("eth0", to).unwrap().1.len();
    lab.hosts.balancer.enter(|| [TcAttachType::Ingress, TcAttachType::Egress].map(count))
}

fn availability(mode: Mode) {
    let lab = Lab::raise(1).unwrap();
    let mut config = config(&lab, mode, "instance");
    let file = lab.write(&config).unwrap();
    let _proxy = lab.proxy(&file, "gw-1").unwrap();
    let mut balancer = lab.balance(&file).unwrap();
    assert_eq!(programs(&lab), [0, 0], "nobody has asked for them");
    assert_eq!(path(&lab, &file, VIPS[0]), None);

    config.probe.availability = Some("1s".to_owned());
    lab.write(&config).unwrap();
    balancer.reload().unwrap();
    assert_eq!(programs(&lab), if mode == Mode::Nat { [0, 0] } else { [1, 1] });
    for vip in VIPS {
        let answered = || path(&lab, &file, vip).is_some_and(|(_, answered, _)| answered >= 2);
        assert!(eventually(SOON, answered), "{vip}: {:?}\n{}", path(&lab, &file, vip), balancer.log());
    }
    if mode != Mode::Nat {
        lab.instance("gw-1").unwrap().ip([format!("address del {PRIVATE6}/128 dev lo")]).unwrap();
        let failed = || path(&lab, &file, PRIVATE6.into()).is_some_and(|(_, _, error)| error.is_some());
        assert!(eventually(SOON, failed), "{}", balancer.log());
        let (tried, answered, error) = path(&lab, &file, PRIVATE.into()).unwrap();
        assert_eq!((tried, error), (answered, None), "the other one still works");
    }
    assert_eq!(said(&balancer, "gw-1 is down"), [""; 0], "health does not depend on it");

    config.probe.availability = None;
    lab.write(&config).unwrap();
    balancer.reload().unwrap();
    assert_eq!(programs(&lab), [0, 0]);
    assert_eq!(path(&lab, &file, VIPS[0]), None);
}

#[test]
fn r84_availability_in_l2_and_nat() {
    availability(Mode::L2);
    availability(Mode::Nat);
}

#[test]
fn r84_availability_in_tunnels() {
    availability(Mode::Ipip4);
    availability(Mode::Gue6);
}
