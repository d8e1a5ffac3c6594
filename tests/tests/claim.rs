//! R10: a VIP that another host on the link has is not claimed; one that is claimed stays.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::IpAddr, time::Duration};

use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6},
    gateway::{Gateway, gateway},
    lab::Lab,
    snapshot::Snapshot,
    wait::eventually,
};

const VIPS: [IpAddr; 4] =
    [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6), IpAddr::V4(PUBLIC), IpAddr::V6(PUBLIC6)];

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
    // The instances were asked for before; other entries come and go by themselves.
    let neighbours = lab.hosts.balancer.must("ip neighbour show nud all").unwrap();
    for dip in &lab.config().instance[0].dip {
        assert!(!neighbours.contains(&format!("{dip} ")), "{neighbours}");
    }
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

fn has(lab: &Lab, vip: IpAddr) -> bool {
    let usable = lab.hosts.balancer.must("ip -oneline address show dev eth0 -tentative").unwrap();
    let length = if vip.is_ipv4() { 32 } else { 128 };
    usable.contains(&format!(" {vip}/{length} "))
}

/// Within two readings of the link and one duplicate-address detection.
fn comes_back(lab: &Lab, balancer: &Gateway) {
    let all = || VIPS.iter().all(|vip| has(lab, *vip));
    assert!(eventually(Duration::from_secs(20), all), "{}", balancer.log());
}

#[test]
fn r10_a_vip_that_somebody_takes_away_comes_back() {
    let lab = Lab::raise(1).unwrap();
    let before = Snapshot::of(&lab.hosts.balancer).unwrap();
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    lab.hosts
        .balancer
        .ip([format!("address del {PRIVATE}/32 dev eth0"), format!("address del {PRIVATE6}/128 dev eth0")])
        .unwrap();
    comes_back(&lab, &balancer);
    balancer.stop().unwrap();
    assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0]);
}

#[test]
fn r10_vips_come_back_with_a_carrier_that_is_later_than_the_interface() {
    let lab = Lab::raise(1).unwrap();
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    let (host, switch) = (&lab.hosts.balancer, &lab.hosts.switch);
    switch.ip(["link set balancer down"]).unwrap();
    host.ip(["link set eth0 down", "link set eth0 up"]).unwrap();
    let noticed =
        || balancer.log().contains("eth0 has no carrier") || balancer.log().contains("eth0 is down");
    assert!(eventually(Duration::from_secs(20), noticed), "{}", balancer.log());
    assert!(!has(&lab, PRIVATE6.into()));
    switch.ip(["link set balancer up"]).unwrap();
    comes_back(&lab, &balancer);
}

#[test]
fn a_link_that_changes_its_address_is_followed() {
    let lab = Lab::raise(1).unwrap();
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    lab.hosts.balancer.ip(["link set eth0 address 02:00:00:00:00:77"]).unwrap();
    let followed = || balancer.log().contains("eth0 has the address 02:00:00:00:00:77 now");
    assert!(eventually(Duration::from_secs(20), followed), "{}", balancer.log());
}

#[test]
fn r06_a_reload_whose_new_vip_is_in_use_changes_nothing() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    let mut balancer = lab.balance(&lab.write(&config).unwrap()).unwrap();
    let before = Snapshot::of(&lab.hosts.balancer).unwrap();
    lab.hosts.client.ip(["address add 203.0.113.6/32 dev eth0"]).unwrap();
    config.vip.public = vec!["203.0.113.7".parse().unwrap(), "203.0.113.6".parse().unwrap()];
    lab.write(&config).unwrap();
    balancer.reload().unwrap();
    // It says so on stderr before it says so to the lab, but those are two ways.
    let told = || {
        ["is not taken up", "203.0.113.6 is already used"].iter().all(|what| balancer.log().contains(what))
    };
    assert!(eventually(Duration::from_secs(5), told), "{}", balancer.log());
    assert_eq!(Snapshot::of(&lab.hosts.balancer).unwrap().since(&before), [""; 0]);
}
