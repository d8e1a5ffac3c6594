//! R70, R22: large bodies where the path is narrower than both ends think, in every forwarding mode.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::IpAddr;

use lab::{
    address::{PRIVATE, PRIVATE6, Station},
    damage,
    host::Host,
    lab::Lab,
    mode::Mode,
    transfer::Body,
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];
/// R70's.
const LARGE: u64 = 20_000_000;
/// Of the tunnel.
const TUNNEL: u16 = 1420;
/// Of one that is narrower: with gue the instances' packets fit into the other.
const NARROWER: u16 = 1380;
/// Some hundred segments in each direction.
const SMALL: u64 = 2_000_000;

/// Counters of the errors that a host has sent because a packet was too big, in both families.
const TOLD: [&str; 2] = ["Icmp OutDestUnreachs", "Icmp6OutPktTooBigs"];

fn so_many(host: &Host, name: &str) -> u64 {
    damage::counters(host).unwrap()[name]
}

/// The client says in its SYN that it takes more than its tunnel does: the instance sends what is too big, and the router's
/// error, which is for the VIP, has to find the instance that has the flow.
fn behind_a_tunnel(mode: Mode, mtu: u16) {
    let lab = Lab::raise(2).unwrap();
    let branch = lab.hosts.branch(mtu).unwrap();
    let running = lab.start(&lab.config().forwarding(mode)).unwrap();
    let large = Body::new(&lab, LARGE).unwrap();
    for (vip, told) in VIPS.into_iter().zip(TOLD) {
        let before = so_many(&lab.hosts.router, told);
        large
            .there_and_back(&lab, &branch, vip)
            .unwrap_or_else(|error| panic!("{error}\n{}", running.balancer.log()));
        // Else nothing was too big, and this shows nothing.
        assert!(so_many(&lab.hosts.router, told) > before, "{vip}");
    }
    for host in lab.hosts.all().chain([&branch]) {
        assert_eq!(damage::of(host).unwrap(), damage::Damage::new(), "{}", host.name());
    }
}

#[test]
fn r70_with_l2_a_client_behind_a_tunnel_gets_and_posts_large_bodies() {
    behind_a_tunnel(Mode::L2, TUNNEL);
}

#[test]
fn r70_with_nat_a_client_behind_a_tunnel_gets_and_posts_large_bodies() {
    behind_a_tunnel(Mode::Nat, TUNNEL);
}

#[test]
fn r70_with_ipip_a_client_behind_a_tunnel_gets_and_posts_large_bodies() {
    behind_a_tunnel(Mode::Ipip4, TUNNEL);
}

#[test]
fn r70_with_gue_a_client_behind_a_tunnel_gets_and_posts_large_bodies() {
    behind_a_tunnel(Mode::Gue6, NARROWER);
}

/// The way to the instances is narrower than they know, so that their MSS is too large: the balancer tells the client.
fn narrow_way(mode: Mode) {
    let lab = Lab::raise(1).unwrap();
    let [v4, v6] = Station::instance(1).addresses();
    let mtu = 1400;
    lab.hosts
        .balancer
        .ip([format!("route add {v4} dev eth0 mtu {mtu}"), format!("route add {v6} dev eth0 mtu {mtu}")])
        .unwrap();
    let mut running = lab.start(&lab.config().forwarding(mode)).unwrap();
    let body = Body::new(&lab, SMALL).unwrap();
    for vip in VIPS {
        let before = lab.counters(&mut running.balancer).unwrap().dropped("too-big");
        body.there_and_back(&lab, &lab.hosts.client, vip)
            .unwrap_or_else(|error| panic!("{error}\n{}", running.balancer.log()));
        let after = lab.counters(&mut running.balancer).unwrap().dropped("too-big");
        assert!(after > before, "{vip}: nothing was too big");
    }
    for host in lab.hosts.all() {
        assert_eq!(damage::of(host).unwrap(), damage::Damage::new(), "{}", host.name());
    }
}

#[test]
fn r70_with_ipip_the_balancer_tells_a_client_that_the_way_to_the_instance_is_narrow() {
    narrow_way(Mode::Ipip4);
}

#[test]
fn r70_with_gue_the_balancer_tells_a_client_that_the_way_to_the_instance_is_narrow() {
    narrow_way(Mode::Gue4);
}

#[test]
fn r70_with_gue_over_ipv6_the_balancer_tells_a_client_that_the_way_to_the_instance_is_narrow() {
    narrow_way(Mode::Gue6);
}

#[test]
fn r70_with_nat_the_balancer_tells_a_client_that_the_way_to_the_instance_is_narrow() {
    narrow_way(Mode::Nat);
}
