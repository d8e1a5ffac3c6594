//! R1: the mode without VIPs, on the host's own addresses.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::SocketAddr, path::PathBuf};

use lab::{
    address::Station,
    config::default_host,
    control,
    curl::Curl,
    gateway::{Gateway, gateway},
    lab::{Lab, ROLES},
    snapshot::Snapshot,
};

fn write(lab: &Lab) -> PathBuf {
    lab.write_text(&lab.config().none()).unwrap()
}

fn start(lab: &Lab, verb: &str, options: &[&str]) -> Gateway {
    let mut command = gateway(verb).unwrap();
    command.arg("--config").arg(write(lab)).args(options);
    Gateway::start(lab.instance("gw-1").unwrap(), command, lab.folder()).unwrap()
}

fn serves_all(lab: &Lab) {
    for address in Station::instance(1).addresses() {
        for (port, roles) in [(443, &ROLES[..]), (3443, &["management"])] {
            for role in roles {
                let at = SocketAddr::new(address, port);
                let answer =
                    Curl::new(lab, "https", &default_host(role), at, "/").send(&lab.hosts.outside).unwrap();
                assert_eq!(answer.seen().unwrap().service, *role, "{at}");
            }
        }
    }
}

#[test]
fn r1_run_and_proxy_serve_on_the_hosts_own_addresses_and_leave_it_as_it_was() {
    let lab = Lab::raise(1).unwrap();
    let host = lab.instance("gw-1").unwrap();
    let before = Snapshot::of(host).unwrap();
    for (verb, options) in [("run", &[][..]), ("proxy", &["--instance", "gw-1"])] {
        let mut gateway = start(&lab, verb, options);
        serves_all(&lab);
        assert!(!host.must("ip -d link show eth0").unwrap().contains("xdp"), "nothing is attached");
        let (v4, v6) =
            (host.must("ip -4 address show lo").unwrap(), host.must("ip -6 address show lo").unwrap());
        assert_eq!((v4.matches("inet ").count(), v6.matches("inet6 ").count()), (1, 1), "{v4}{v6}");
        gateway.reload().unwrap();
        serves_all(&lab);
        let output = gateway.stop().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
        assert_eq!(Snapshot::of(host).unwrap().since(&before), [""; 0], "{verb}");
    }
}

#[test]
fn r1_what_a_balancer_does_is_said_not_to_be_there() {
    let lab = Lab::raise(1).unwrap();
    let file = write(&lab);
    let host = lab.instance("gw-1").unwrap();
    for (line, code, says) in [
        ("check", 0, "listens      on the instances' own addresses; no VIPs, no balancer"),
        ("balance", 1, "there is nothing to balance with `mode = \"none\"`"),
        ("status", 1, "there is no balancer to ask"),
        ("plan", 1, "there is no balancer to ask"),
        ("apply", 1, "there is no balancer to ask"),
        ("drops", 1, "there is no balancer to ask"),
    ] {
        let output = control::gateway(host, line, &file).unwrap();
        let said = output.text() + &output.stderr;
        assert_eq!((output.status.code(), said.contains(says)), (Some(code), true), "{line}: {said}");
    }
    // And a running balancer does not become one that balances nothing.
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    let output = control::gateway(&lab.hosts.balancer, "apply", &write(&lab)).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("service.mode changed from a mode with VIPs to none"),
        "{}",
        output.stderr
    );
    drop(balancer);
}
