//! R10: a VIP that another host on the link has is not claimed.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::IpAddr;

use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6},
    gateway::gateway,
    lab::Lab,
    snapshot::Snapshot,
};

fn refused(vip: IpAddr) {
    let lab = Lab::raise(1).unwrap();
    let length = if vip.is_ipv4() { 32 } else { 128 };
    lab.hosts.client.ip([format!("address add {vip}/{length} dev eth0")]).unwrap();
    let before = Snapshot::of(&lab.hosts.balancer).unwrap();
    let mut balance = gateway("balance").unwrap();
    balance.arg("--config").arg(lab.write(&lab.config()).unwrap());
    let output = lab.hosts.balancer.run_command(balance).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let rival = CLIENT.mac().map(|byte| format!("{byte:02x}")).join(":");
    for word in [vip.to_string(), rival] {
        assert!(output.stderr.contains(&word), "{word} is not in\n{}", output.stderr);
    }
    assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0]);
}

#[test]
fn r10_a_vip_that_answers_arp_elsewhere_is_refused() {
    refused(PRIVATE.into());
}

#[test]
fn r10_a_vip_that_answers_neighbour_discovery_elsewhere_is_refused() {
    refused(PRIVATE6.into());
}

#[test]
fn r10_a_vip_from_elsewhere_than_the_subnet_is_refused_with_its_place() {
    let lab = Lab::raise(1).unwrap();
    for vip in ["10.0.1.5", "10.0.0.0", "10.0.0.255", "10.0.0.11"] {
        let mut config = lab.config();
        config.vip.private = vec![vip.parse().unwrap()];
        let mut check = gateway("check").unwrap();
        check.arg("--config").arg(lab.write(&config).unwrap());
        let output = lab.hosts.balancer.run_command(check).unwrap();
        assert_eq!(output.status.code(), Some(2), "{vip}: {output:?}");
        assert!(output.stderr.contains("gateway.toml:"), "{vip}: {}", output.stderr);
    }
}
