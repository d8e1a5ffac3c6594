//! Interfaces that are not a plain one with native XDP.

use std::{net::IpAddr, time::Duration};

use lab::{
    address::{BALANCER, PRIVATE, PRIVATE6, ROUTER},
    config::default_host,
    curl::Curl,
    lab::Lab,
    snapshot::Snapshot,
    wait::eventually,
};

#[test]
fn an_interface_without_native_xdp_serves_too_and_a_warning_says_why_it_is_slow() {
    let lab = Lab::raise(2).unwrap();
    let balancer = &lab.hosts.balancer;
    // A bridge has no driver that could run XDP. The addresses move from its port to it.
    balancer
        .ip([
            "link add br0 type bridge forward_delay 0".to_owned(),
            "address flush dev eth0 scope global".to_owned(),
            "link set eth0 master br0".to_owned(),
            format!("address add {}/24 dev br0", BALANCER.v4()),
            format!("address add {}/64 dev br0 nodad", BALANCER.v6()),
            "link set br0 up".to_owned(),
            format!("route add default via {}", ROUTER.v4()),
        ])
        .unwrap();
    let up = || balancer.must("ip link show dev br0").unwrap().contains("state UP");
    assert!(eventually(Duration::from_secs(5), up));
    let mut config = lab.config();
    config.balancer.interface = "br0".to_owned();
    let before = Snapshot::of(balancer).unwrap();
    let running = lab.start(&config).unwrap();
    let warned = || ["WARN", "generic"].iter().all(|what| running.balancer.log().contains(what));
    assert!(eventually(Duration::from_secs(5), warned), "{}", running.balancer.log());
    for vip in [IpAddr::from(PRIVATE), PRIVATE6.into()] {
        for host in [&lab.hosts.client, &lab.hosts.routed] {
            let answer = Curl::https(&lab, &default_host("gateway"), vip, "/").send(host).unwrap();
            assert_eq!(
                answer.status,
                200,
                "{vip} from {}: {answer:?}\n{}",
                host.name(),
                running.balancer.log()
            );
        }
    }
    drop(running);
    assert_eq!(Snapshot::of(balancer).unwrap().since(&before), [""; 0]);
}
