//! What leaves and what comes back, packet by packet.

use std::collections::{BTreeMap, BTreeSet};

use gateway_ebpf::{
    reason::Reason,
    snat::{
        layout::{Entry, Key},
        map::Way,
    },
};
use gateway_userspace::plan::{PortBlock, translation::Returns};
use lab::frame::{self, flag, protocol};
use proptest::prelude::*;

use crate::world::{
    DIP, DIP6, Outcome, PEER, PEER6, VIP, VIP6, World, ip, leased, packet, port_of, tcp, udp,
};

const SYN_ACK: u8 = flag::SYN | flag::ACK;

fn is_leased(port: u16, blocks: u16) -> bool {
    (8192..8192 + blocks * 8).contains(&port)
}

#[test]
fn r31_a_connection_leaves_with_the_public_vip_and_its_answers_come_back() {
    for (dip, vip, peer) in [(DIP, VIP, PEER), (DIP6, VIP6, PEER6)] {
        for mut world in World::both(&leased(4)) {
            let sent = world.send(&tcp((dip, 40_000), (peer, 443), flag::SYN));
            let port = port_of(&sent);
            assert!(is_leased(port, 4), "{port}");
            assert_eq!(sent, Outcome::On(tcp((vip, port), (peer, 443), flag::SYN)), "checksums included");
            let answer = world.receive(&tcp((peer, 443), (vip, port), SYN_ACK));
            assert_eq!(answer, Outcome::On(tcp((peer, 443), (dip, 40_000), SYN_ACK)));
            let next = world.send(&tcp((dip, 40_000), (peer, 443), flag::ACK));
            assert_eq!(next, Outcome::On(tcp((vip, port), (peer, 443), flag::ACK)));
        }
    }
}

#[test]
fn r31_datagrams_and_pings_too() {
    for (dip, vip, peer) in [(DIP, VIP, PEER), (DIP6, VIP6, PEER6)] {
        for mut world in World::both(&leased(4)) {
            let sent = world.send(&udp((dip, 5353), (peer, 53)));
            let port = port_of(&sent);
            assert_eq!(sent, Outcome::On(udp((vip, port), (peer, 53))));
            let answer = world.receive(&udp((peer, 53), (vip, port)));
            assert_eq!(answer, Outcome::On(udp((peer, 53), (dip, 5353))));

            let Outcome::On(sent) = world.send(&ping(dip, peer, 77)) else { panic!("dropped") };
            let place = if vip == VIP { 14 + 20 + 4 } else { 14 + 40 + 4 };
            let identifier = u16::from_be_bytes([sent[place], sent[place + 1]]);
            assert!(is_leased(identifier, 4), "{identifier}");
            assert_eq!(sent, ping(vip, peer, identifier));
        }
    }
}

#[test]
fn r30_inside_and_what_no_router_forwards_keep_the_dip() {
    for mut world in World::both(&leased(4)) {
        for frame in [
            udp((DIP, 1), ("10.0.255.255", 53)),
            udp((DIP6, 1), ("fd00:ffff::1", 53)),
            udp((DIP, 1), ("224.0.0.251", 53)),
            udp((DIP6, 1), ("ff02::fb", 53)),
            udp((DIP, 1), ("255.255.255.255", 67)),
            udp((DIP, 1), ("169.254.169.254", 80)),
            udp((DIP6, 1), ("fe80::1", 80)),
            // Direct server return, and what is not this instance's.
            tcp((VIP, 3443), (PEER, 50_000), SYN_ACK),
            tcp(("10.0.0.12", 3443), (PEER, 50_000), flag::SYN),
        ] {
            assert_eq!(world.send(&frame), Outcome::On(frame));
        }
    }
}

#[test]
fn r32_networks_change_live() {
    let mut world = World::kernel(&leased(4));
    let datagram = udp((DIP, 5353), (PEER, 53));
    assert_ne!(world.send(&datagram), Outcome::On(datagram.clone()));
    let World::Kernel(snat) = &mut world else { unreachable!() };
    let mut wanted = leased(4);
    wanted.inside.push("198.51.100.0/24".parse().unwrap());
    snat.apply(&wanted).unwrap();
    assert_eq!(world.send(&datagram), Outcome::On(datagram));
}

#[test]
fn r21_nobody_else_gets_in_by_a_port_in_use() {
    for mut world in World::both(&leased(4)) {
        let port = port_of(&world.send(&tcp((DIP, 40_000), (PEER, 443), flag::SYN)));
        let to = (VIP, port);
        for (frame, reason) in [
            (tcp((PEER, 443), to, flag::SYN), Reason::SnatSyn),
            (tcp((PEER, 444), to, SYN_ACK), Reason::SnatUnsolicited),
            (tcp(("198.51.100.8", 443), to, SYN_ACK), Reason::SnatUnsolicited),
            (udp((PEER, 443), to), Reason::SnatUnsolicited),
            (tcp((PEER, 443), (VIP, 8191), SYN_ACK), Reason::SnatUnsolicited),
            (tcp((PEER, 443), (VIP, 22), flag::ACK), Reason::SnatUnsolicited),
        ] {
            assert_eq!(world.receive(&frame), Outcome::Dropped(reason));
        }
        let served = tcp((PEER, 443), (VIP, 3443), flag::SYN);
        assert_eq!(world.receive(&served), Outcome::On(served));
        let own = tcp((PEER, 443), (DIP, 22), flag::SYN);
        assert_eq!(world.receive(&own), Outcome::On(own), "not for a VIP (R24)");
    }
}

#[test]
fn r31_what_cannot_be_translated_does_not_show_the_dip() {
    for mut world in World::both(&leased(4)) {
        for (frame, reason) in [
            (tcp((DIP, 40_000), (PEER, 443), flag::ACK), Reason::SnatEntry),
            (tcp((DIP, 22), (PEER, 443), SYN_ACK), Reason::SnatEntry),
            (packet(ip(DIP), ip(PEER), 132, &[0; 20]), Reason::SnatProtocol),
            (packet(ip(DIP), ip(PEER), 1, &[0, 0, 0, 0, 0, 0, 0, 0]), Reason::SnatProtocol),
        ] {
            assert_eq!(world.send(&frame), Outcome::Dropped(reason));
        }
    }
    let mut none = leased(4);
    none.leases.clear();
    for mut world in World::both(&none) {
        let syn = tcp((DIP, 40_000), (PEER, 443), flag::SYN);
        assert_eq!(world.send(&syn), Outcome::Dropped(Reason::SnatLease));
    }
}

#[test]
fn r31_a_datagram_in_fragments_leaves_whole() {
    for mut world in World::both(&leased(4)) {
        let whole = |from, port| frame::udp(ip(from), ip(PEER), port, 53, &[7; 3000]);
        let cut = |from: &str, datagram: &[u8]| {
            let macs = crate::world::MACS;
            frame::fragments(macs, (ip(from), ip(PEER)), 7, protocol::UDP, datagram, 1480)
        };
        let sent = cut(DIP, &whole(DIP, 5353));
        assert_eq!(world.send(&sent[1]), Outcome::Dropped(Reason::SnatFragment), "before the first one");
        let first = world.send(&sent[0]);
        let port = port_of(&first);
        let expected = cut(VIP, &whole(VIP, port));
        assert_eq!(first, Outcome::On(expected[0].clone()));
        for (sent, expected) in sent.iter().zip(expected).skip(1) {
            assert_eq!(world.send(sent), Outcome::On(expected));
        }
    }
}

/// An ICMP error about a packet; type and code of "too big" and the MTU.
fn too_big(from: &str, to: &str, about: &[u8]) -> Vec<u8> {
    let mut message = vec![3, 4, 0, 0, 0, 0, 5, 120];
    message.extend(&about[14..14 + 28]);
    let sum = frame::checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(ip(from), ip(to), protocol::ICMP, &message)
}

fn ping(from: &str, to: &str, identifier: u16) -> Vec<u8> {
    let (number, message) = frame::echo(ip(from), ip(to), identifier);
    packet(ip(from), ip(to), number, &message)
}

/// Of a ping over IPv4.
fn identifier_of(outcome: &Outcome) -> u16 {
    let Outcome::On(frame) = outcome else { panic!("{outcome:?}") };
    u16::from_be_bytes([frame[14 + 20 + 4], frame[14 + 20 + 5]])
}

#[test]
fn r22_an_error_about_an_own_ping_comes_back_to_it() {
    const ROUTER: &str = "192.0.2.1";
    for (returns, door) in [(Returns::ToVip, VIP), (Returns::ToDip, DIP)] {
        let wanted = gateway_userspace::plan::Translation { returns, ..leased(4) };
        for mut world in World::both(&wanted) {
            let identifier = identifier_of(&world.send(&ping(DIP, PEER, 77)));
            let error = world.receive(&too_big(ROUTER, door, &ping(door, PEER, identifier)));
            assert_eq!(error, Outcome::On(too_big(ROUTER, DIP, &ping(DIP, PEER, 77))), "{returns:?}");
        }
    }
}

#[test]
fn r22_errors_are_translated_both_ways() {
    const ROUTER: &str = "192.0.2.1";
    for mut world in World::both(&leased(4)) {
        let datagram = udp((DIP, 5353), (PEER, 53));
        let Outcome::On(sent) = world.send(&datagram) else { panic!("dropped") };
        let port = port_of(&Outcome::On(sent.clone()));
        let error = world.receive(&too_big(ROUTER, VIP, &sent));
        assert_eq!(error, Outcome::On(too_big(ROUTER, DIP, &datagram)));

        let stray = too_big(ROUTER, VIP, &udp((VIP, port), (PEER, 54)));
        assert_eq!(world.receive(&stray), Outcome::Dropped(Reason::IcmpQuote));

        let (came, inside) = (udp((PEER, 53), (VIP, port)), udp((PEER, 53), (DIP, 5353)));
        assert_eq!(world.send(&too_big(DIP, PEER, &inside)), Outcome::On(too_big(VIP, PEER, &came)));
        let of_none = too_big(DIP, PEER, &udp((PEER, 54), (DIP, 5353)));
        assert_eq!(world.send(&of_none), Outcome::Dropped(Reason::SnatEntry));
    }
}

#[test]
fn r34_a_port_is_used_again_towards_another_destination_and_no_more_than_once_to_the_same() {
    for mut world in World::both(&leased(1)) {
        for (peer, peer_port) in [(PEER, 443), (PEER, 444), ("198.51.100.8", 443)] {
            let syn = |n: u16| tcp((DIP, 40_000 + n), (peer, peer_port), flag::SYN);
            let ports: BTreeSet<u16> = (0..8).map(|n| port_of(&world.send(&syn(n)))).collect();
            assert_eq!(ports, (8192..8200).collect(), "all eight");
            assert_eq!(world.send(&syn(9)), Outcome::Dropped(Reason::SnatPort));
        }
        if let World::Kernel(snat) = &mut world {
            let exhausted = snat.exhausted().unwrap();
            assert!(exhausted.iter().any(|one| one.destination == "198.51.100.8:443".parse().unwrap()));
            let usage = snat.sweep().unwrap();
            assert_eq!(usage.total(), (8, 16), "of both VIPs");
            let of_block = usage.blocks[&ip(VIP)][&PortBlock(1024)];
            assert_eq!((of_block.ports, of_block.flows), (8, 24));
            assert_eq!(snat.counts().unwrap().failed(), 3);
        }
    }
}

#[test]
fn r34_the_last_free_ports_of_an_instance_are_found() {
    for mut world in World::both(&leased(128)) {
        let syn = |n: u16| tcp((DIP, 20_000 + n), (PEER, 443), flag::SYN);
        let ports: BTreeSet<u16> = (0..1024).map(|n| port_of(&world.send(&syn(n)))).collect();
        assert_eq!(ports, (8192..8192 + 1024).collect());
        assert_eq!(world.send(&syn(1024)), Outcome::Dropped(Reason::SnatPort));
    }
}

#[test]
fn r31_a_datagrams_port_is_the_same_towards_everybody() {
    for mut world in World::both(&leased(128)) {
        let peers = [(PEER, 53), (PEER, 54), ("192.0.2.9", 53), ("8.8.8.8", 53)];
        let ports: BTreeSet<u16> =
            peers.iter().map(|&peer| port_of(&world.send(&udp((DIP, 5353), peer)))).collect();
        assert_eq!(ports.len(), 1, "{ports:?}");
        let other = port_of(&world.send(&udp((DIP, 5354), (PEER, 53))));
        assert!(!ports.contains(&other), "whose own it is");
    }
}

#[test]
fn r34_sixty_thousand_connections_to_ten_destinations_leave_by_one_vip() {
    let mut wanted = leased(1024);
    wanted.leases.remove(&ip(VIP6));
    let mut world = World::kernel(&wanted);
    let mut seen = BTreeSet::new();
    for flow in 0..60_000_u32 {
        let peer = format!("198.51.100.{}", 1 + flow % 10);
        let sent = world.send(&tcp((DIP, 1024 + (flow / 10) as u16), (&peer, 443), flag::SYN));
        assert!(seen.insert((flow % 10, port_of(&sent))), "{flow}: a port twice to one destination");
    }
    let World::Kernel(snat) = &mut world else { unreachable!() };
    assert_eq!(snat.counts().unwrap().failed(), 0);
    assert_eq!(snat.sweep().unwrap().flows.values().sum::<u64>(), 60_000);
}

#[test]
fn r34_a_port_of_a_flow_that_is_over_is_taken_over() {
    let mut world = World::host(&leased(1));
    let syn = |n: u16| tcp((DIP, 40_000 + n), (PEER, 443), flag::SYN);
    (0..8).for_each(|n| assert!(matches!(world.send(&syn(n)), Outcome::On(_))));
    let World::Host(flows) = &mut world else { unreachable!() };
    flows.now = (4 * 60 - 5) * 1_000_000_000;
    assert_eq!(world.send(&syn(9)), Outcome::Dropped(Reason::SnatPort), "four minutes are not over");
    let World::Host(flows) = &mut world else { unreachable!() };
    flows.now = (4 * 60 + 5) * 1_000_000_000;
    let port = port_of(&world.send(&syn(9)));
    let answer = world.receive(&tcp((PEER, 443), (VIP, port), SYN_ACK));
    assert_eq!(answer, Outcome::On(tcp((PEER, 443), (DIP, 40_009), SYN_ACK)));
}

#[test]
fn r34_flows_of_a_block_that_is_taken_away_are_over_and_those_of_one_that_drains_go_on() {
    let mut world = World::kernel(&leased(1));
    let syn = |n: u16| tcp((DIP, 40_000 + n), (PEER, 443), flag::SYN);
    let port = port_of(&world.send(&syn(0)));
    let World::Kernel(snat) = &mut world else { unreachable!() };
    let mut wanted = leased(1);
    for lease in wanted.leases.values_mut() {
        lease.draining = std::mem::take(&mut lease.active);
    }
    snat.apply(&wanted).unwrap();
    assert_eq!(snat.leases(), wanted.leases);
    let answer = tcp((PEER, 443), (VIP, port), SYN_ACK);
    assert_eq!(world.receive(&answer), Outcome::On(tcp((PEER, 443), (DIP, 40_000), SYN_ACK)));
    assert_eq!(world.send(&syn(1)), Outcome::Dropped(Reason::SnatLease));
    let World::Kernel(snat) = &mut world else { unreachable!() };
    wanted.leases.values_mut().for_each(|lease| lease.draining.clear());
    snat.apply(&wanted).unwrap();
    assert_eq!(snat.sweep().unwrap().flows.len(), 0);
    assert_eq!(world.receive(&answer), Outcome::Dropped(Reason::SnatUnsolicited));
}

#[test]
fn r31_behind_a_balancer_in_nat_mode_answers_come_to_the_dip() {
    let mut wanted = leased(4);
    wanted.returns = Returns::ToDip;
    wanted.backends = [(gateway_userspace::plan::translation::Protocol::Tcp, 23_443)].into();
    for mut world in World::both(&wanted) {
        let port = port_of(&world.send(&tcp((DIP, 40_000), (PEER, 443), flag::SYN)));
        let answer = world.receive(&tcp((PEER, 443), (DIP, port), SYN_ACK));
        assert_eq!(answer, Outcome::On(tcp((PEER, 443), (DIP, 40_000), SYN_ACK)));
        let reply = tcp((DIP, 23_443), (PEER, 50_000), SYN_ACK);
        assert_eq!(world.send(&reply), Outcome::On(reply), "the balancer gives it its VIP");
        let request = tcp((PEER, 50_000), (DIP, 23_443), flag::SYN);
        assert_eq!(world.receive(&request), Outcome::On(request));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_said_comes_back_as_it_was_and_no_two_flows_share_a_way(
        said in prop::collection::vec((any::<bool>(), 0..40_u16, 0..6_u8, 0..3_u16, 0..200_u64), 1..250)
    ) {
        let mut world = World::host(&leased(2));
        let mut mappings: BTreeMap<u16, u16> = BTreeMap::new();
        for (is_tcp, port, host, peer_port, pause) in said {
            let World::Host(flows) = &mut world else { unreachable!() };
            flows.now += pause << 30;
            let peer = format!("198.51.100.{host}");
            let (own, to) = ((DIP, 1000 + port), (peer.as_str(), 53 + peer_port));
            let packet = |from, to, flags| if is_tcp { tcp(from, to, flags) } else { udp(from, to) };
            let Outcome::On(sent) = world.send(&packet(own, to, flag::SYN)) else { continue };
            let given = port_of(&Outcome::On(sent.clone()));
            prop_assert_eq!(&sent, &packet((VIP, given), to, flag::SYN));
            let answer = world.receive(&packet(to, (VIP, given), SYN_ACK));
            prop_assert_eq!(answer, Outcome::On(packet(to, own, SYN_ACK)));
            let World::Host(flows) = &world else { unreachable!() };
            let now = (flows.now >> 30) as u32;
            let lives = &flows.table.lives;
            let living = |key: Key, entry: Entry| {
                !entry.is_dead() && !gateway_ebpf::snat::state::is_over(entry, key.protocol(), lives, now)
            };
            let forward = flows.all(Way::Forward);
            let ways: Vec<_> = forward
                .iter()
                .filter(|(key, entry)| living(*key, *entry))
                .map(|(key, entry)| (key.protocol(), entry.vip(), entry.port(), key.peer, key.peer_port()))
                .collect();
            prop_assert_eq!(ways.iter().collect::<BTreeSet<_>>().len(), ways.len(), "two flows by one way");
            mappings.clear();
            for (key, entry) in forward.iter().filter(|(key, entry)| key.protocol() == 17 && living(*key, *entry)) {
                let known = *mappings.entry(key.port()).or_insert(entry.port());
                prop_assert_eq!(known, entry.port(), "one port, whoever the peer is");
            }
        }
    }
}
