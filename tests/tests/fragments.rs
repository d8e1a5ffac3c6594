//! R22: all fragments of a datagram to the private VIP reach one instance.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lab::{
    address::{BALANCER, CLIENT, PRIVATE, PRIVATE6},
    damage,
    frame::{self, Tcp, flag, protocol},
    inject::Injector,
    lab::Lab,
    mode::Mode,
    segments::Arrivals,
    transfer::Body,
};

/// Of a test, each of a flow of its own.
const DATAGRAMS: u16 = 90;
/// What a fragment carries, and its place in the frame: behind Ethernet and the header that names the datagram.
const SIZE: usize = 1200;
const DATA: usize = 2 * SIZE + 100;

/// The datagram that a frame is of.
fn identification(frame: &[u8]) -> u16 {
    let at = if frame[12..14] == frame::IPV4.to_be_bytes() { 14 + 4 } else { 14 + 40 + 6 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn reach_one_instance(vip: IpAddr) {
    let lab = Lab::raise(3).unwrap();
    let balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    let injector = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let arrivals = Arrivals::listen(&lab).unwrap();
    let from = CLIENT.addresses()[usize::from(vip.is_ipv6())];
    let datagram = |number: u16| {
        let tcp = Tcp { flags: flag::ACK | flag::PSH, ..Tcp::syn(20_000 + number, 443) };
        let segment = tcp.segment(from, vip, &[7; DATA]);
        let macs = (BALANCER.mac(), CLIENT.mac());
        let mut parts = frame::fragments(macs, (from, vip), number, protocol::TCP, &segment, SIZE);
        // Behind the first one they may come in any order.
        parts[1..].reverse();
        parts
    };
    injector.send((1..=DATAGRAMS).flat_map(datagram)).unwrap();
    let mut places = BTreeMap::<u16, Vec<String>>::new();
    for (instance, frame) in arrivals.frames(usize::from(DATAGRAMS) * 3, vip).unwrap() {
        places.entry(identification(&frame)).or_default().push(instance);
    }
    assert_eq!(places.len(), usize::from(DATAGRAMS), "{}", balancer.log());
    let mut used = BTreeSet::new();
    for (number, instances) in places {
        assert!(
            instances.len() == 3 && instances.iter().all(|name| *name == instances[0]),
            "{number}: {instances:?}"
        );
        used.insert(instances[0].clone());
    }
    assert_eq!(used.len(), 3, "{used:?}");
}

#[test]
fn r22_all_fragments_of_a_datagram_reach_one_instance() {
    reach_one_instance(PRIVATE.into());
}

#[test]
fn r22_all_fragments_of_an_ipv6_datagram_reach_one_instance() {
    reach_one_instance(PRIVATE6.into());
}

/// A client without path MTU discovery, and a router that cuts what it sends: every full segment comes in two parts.
fn upload_in_fragments(mode: Mode) {
    let lab = Lab::raise(3).unwrap();
    lab.hosts.routed.sysctl("net/ipv4/ip_no_pmtu_disc", "1").unwrap();
    lab.hosts.router.ip([format!("route add {PRIVATE}/32 dev lan mtu 1000")]).unwrap();
    let running = lab.start(&lab.config().forwarding(mode)).unwrap();
    let body = Body::new(&lab, 3_000_000).unwrap();
    for _ in 0..3 {
        body.upload(&lab, &lab.hosts.routed, PRIVATE.into())
            .unwrap_or_else(|error| panic!("{error}\n{}", running.balancer.log()));
    }
    let joined = |host| damage::counters(host).unwrap()["Ip ReasmOKs"];
    assert!(lab.hosts.instances.iter().map(joined).sum::<u64>() > 3_000);
    for host in lab.hosts.all() {
        assert_eq!(damage::of(host).unwrap(), damage::Damage::new(), "{}", host.name());
    }
}

#[test]
fn r22_with_l2_a_client_whose_packets_are_cut_on_the_way_is_served() {
    upload_in_fragments(Mode::L2);
}

#[test]
fn r22_with_nat_a_client_whose_packets_are_cut_on_the_way_is_served() {
    upload_in_fragments(Mode::Nat);
}

#[test]
fn r22_with_ipip_a_client_whose_packets_are_cut_on_the_way_is_served() {
    upload_in_fragments(Mode::Ipip4);
}

#[test]
fn r22_with_gue_a_client_whose_packets_are_cut_on_the_way_is_served() {
    upload_in_fragments(Mode::Gue6);
}
