use std::collections::BTreeSet;

use gateway_ebpf::{
    frame::Frame as _,
    host::HostTables,
    layout::{Bucket, FLAG_NAT, WAY_LINK},
    pipeline::{Verdict, balance},
    reason::Reason,
};

use super::*;
use crate::{model, testing};

const OURS: Mac = [2, 0, 0, 0, 0, 1];

pub(super) fn model(instances: &[(&str, u16, AdminState)]) -> Model {
    let mut model = testing::model(&instances.iter().map(|&(name, ..)| name).collect::<Vec<_>>());
    for (instance, &(_, weight, admin_state)) in model.instances.iter_mut().zip(instances) {
        (instance.weight, instance.admin_state) = (weight, admin_state);
    }
    model.network.subnet.push("fd00:0:0:1::/64".parse().unwrap());
    model.network.vnet.push("10.0.0.0/16".parse().unwrap());
    model.vip.private.push("fd00:0:0:1::5".parse().unwrap());
    model
}

pub(super) fn desired(model: Model) -> Desired {
    let way =
        |i: usize, dip: IpAddr| Way { interface: 2, mac: [2, 0, 0, 0, 1, i as u8], mtu: 1500, source: dip };
    let ways = model.instances.iter().enumerate().flat_map(|(i, instance)| {
        instance.dip.iter().map(move |&dip| ((instance.name.clone(), dip), way(i, dip)))
    });
    Desired {
        ways: ways.collect(),
        model: Arc::new(model),
        interfaces: vec![Interface { index: 2, mac: OURS, side: Side::Both }],
        local: None,
        ended: BTreeSet::new(),
        gone: BTreeSet::new(),
        shares: BTreeMap::new(),
        leases: BTreeMap::new(),
        node_salt: 42,
        now: 1,
    }
}

/// A TCP SYN to a port of a VIP, as short as it may be.
pub(super) fn syn(source: [u8; 4], vip: [u8; 4], port: u16) -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame[..6].copy_from_slice(&OURS);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&40u16.to_be_bytes());
    frame[22] = 64;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&source);
    frame[30..34].copy_from_slice(&vip);
    frame[34..36].copy_from_slice(&50_000u16.to_be_bytes());
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[46] = 0x50;
    frame[47] = 2;
    frame
}

#[test]
fn the_same_input_is_the_same_plan_and_a_plan_of_itself_changes_nothing() {
    let desired = desired(model(&[("gw-1", 100, AdminState::Auto), ("gw-2", 50, AdminState::Auto)]));
    let first = plan(&desired, None).unwrap();
    assert_eq!(first, plan(&desired, None).unwrap());
    assert_eq!(first, plan(&desired, Some(&first)).unwrap());
}

#[test]
fn r20_r14_the_planned_tables_admit_what_they_should() {
    let plan = plan(&desired(model(&[("gw-1", 100, AdminState::Auto)])), None).unwrap();
    let tables = HostTables::from(&plan);
    let verdict = |source, vip, port| balance(&mut syn(source, vip, port), &tables);
    let (inside, outside) = ([10, 0, 7, 7], [198, 51, 100, 7]);
    let (private, public) = ([10, 0, 0, 5], [203, 0, 113, 5]);
    for port in [443, 80, 3443] {
        assert_eq!(verdict(inside, private, port), Verdict::Transmit, "{port}");
        assert_eq!(verdict(outside, private, port), Verdict::Drop(Reason::Source), "{port}");
    }
    assert_eq!(verdict(outside, public, 3443), Verdict::Transmit);
    for port in [443, 80, 22, 8080] {
        assert_eq!(verdict(outside, public, port), Verdict::Drop(Reason::NoService), "{port}");
    }
    assert_eq!(verdict(outside, [203, 0, 113, 6], 443), Verdict::Pass);
}

#[test]
fn r20f_management_sources_close_3443_further() {
    let mut model = model(&[("gw-1", 100, AdminState::Auto)]);
    model.balancer.management_sources = vec!["198.51.100.0/25".parse().unwrap()];
    let plan = plan(&desired(model), None).unwrap();
    let tables = HostTables::from(&plan);
    let verdict = |last| balance(&mut syn([198, 51, 100, last], [203, 0, 113, 5], 3443), &tables);
    assert_eq!(verdict(127), Verdict::Transmit);
    assert_eq!(verdict(128), Verdict::Drop(Reason::Source));
}

#[test]
fn a_forwarded_frame_has_the_instances_mac_and_ours() {
    let plan = plan(&desired(model(&[("gw-1", 100, AdminState::Auto)])), None).unwrap();
    let mut frame = syn([10, 0, 7, 7], [10, 0, 0, 5], 443);
    assert_eq!(balance(&mut frame, &HostTables::from(&plan)), Verdict::Transmit);
    assert_eq!(frame[..6], [2, 0, 0, 0, 1, 0]);
    assert_eq!(frame[6..12], OURS);
    assert_eq!(frame.read::<u16>(12), Some(8u16));
}

#[test]
fn r12_a_removed_instance_keeps_number_and_way_until_its_drain_is_over() {
    let both = [("gw-1", 100, AdminState::Auto), ("gw-2", 100, AdminState::Auto)];
    let mut wish = desired(model(&both));
    let first = plan(&wish, None).unwrap();
    let gone = InstanceName("gw-2".into());
    wish.model = Arc::new(model(&both[..1]));

    let draining = plan(&wish, Some(&first)).unwrap();
    let number = first.numbers[&gone];
    assert_eq!(draining.numbers[&gone], number);
    assert_eq!(draining.instances[&number][0].way, WAY_LINK);
    assert!(
        draining.ring.iter().all(|word| word.current() == draining.numbers[&InstanceName("gw-1".into())])
    );
    assert!(draining.ring.iter().any(|word| word.is_moved() && word.previous() == number));
    assert!(draining.forget.is_empty());

    wish.ended.insert(gone.clone());
    let ended = plan(&wish, Some(&draining)).unwrap();
    assert_eq!(ended.forget, BTreeSet::from([number]));
    assert!(!ended.numbers.contains_key(&gone) && !ended.instances.contains_key(&number));
    assert!(
        ended
            .ring
            .iter()
            .all(|word| word.current() != number && (!word.is_moved() || word.previous() != number))
    );
}

#[test]
fn r83_an_instance_that_is_down_takes_no_new_flows() {
    let wish = desired(model(&[("gw-1", 100, AdminState::Down), ("gw-2", 100, AdminState::Auto)]));
    let plan = plan(&wish, None).unwrap();
    let number = plan.numbers[&InstanceName("gw-2".into())];
    assert!(plan.ring.iter().all(|&word| word == Bucket::settled(number)));
}

#[test]
fn an_instance_that_was_never_resolved_takes_no_buckets() {
    let mut wish = desired(model(&[("gw-1", 100, AdminState::Auto), ("gw-2", 100, AdminState::Auto)]));
    wish.ways.retain(|(name, _), _| name.0 != "gw-1");
    let plan = plan(&wish, None).unwrap();
    let number = plan.numbers[&InstanceName("gw-2".into())];
    assert!(plan.ring.iter().all(|&word| word == Bucket::settled(number)));
}

#[test]
fn a_local_instance_needs_no_neighbour() {
    let mut wish = desired(model(&[("gw-1", 100, AdminState::Auto)]));
    wish.ways.clear();
    wish.local = Some(InstanceName("gw-1".into()));
    let plan = plan(&wish, None).unwrap();
    let mut frame = syn([10, 0, 7, 7], [10, 0, 0, 5], 443);
    assert_eq!(balance(&mut frame, &HostTables::from(&plan)), Verdict::Deliver);
}

#[test]
fn with_nobody_in_service_the_reason_says_so() {
    let plan = plan(&desired(model(&[("gw-1", 100, AdminState::Down)])), None).unwrap();
    let mut frame = syn([10, 0, 7, 7], [10, 0, 0, 5], 443);
    assert_eq!(balance(&mut frame, &HostTables::from(&plan)), Verdict::Drop(Reason::NoInstance));
}

#[test]
fn what_was_written_is_read_back() {
    for forwarding in [Forwarding::L2, Forwarding::Gue, Forwarding::Nat] {
        let mut model = model(&[("gw-1", 100, AdminState::Auto), ("gw-2", 50, AdminState::Auto)]);
        model.balancer.forwarding = forwarding;
        // The instances have IPv4 addresses only, by which nat takes no other packets.
        model.vip.private.truncate(1);
        model.balancer.management_sources = vec!["198.51.100.0/25".parse().unwrap()];
        let mut wish = desired(model.clone());
        let first = plan(&wish, None).unwrap();
        model.instances.truncate(1);
        wish.model = Arc::new(model);
        let moved = plan(&wish, Some(&first)).unwrap();
        let mut tables = HostTables::default();
        for plan in [&first, &moved] {
            plan.write(&mut tables.block);
            assert_eq!(Plan::read(&tables.block, plan.names()), *plan, "{forwarding}");
        }
        let changes = Changes::between(&HostTables::from(&first).block, &tables.block);
        let buckets = first.ring.iter().zip(&moved.ring).filter(|(before, after)| before != after).count();
        assert!(buckets > 0);
        // Each moved bucket opens a window, and the ring is of another generation.
        assert_eq!(changes, Changes { buckets, entries: buckets + 1 }, "{forwarding}");
    }
}

#[test]
fn role_names_are_made_from_the_service() {
    let service = model(&[]).service;
    assert_eq!(model::Role::Gateway.default_host(&service), "contoso.azure-api.net");
    assert_eq!(model::Role::Scm.default_host(&service), "contoso.scm.azure-api.net");
}

#[test]
fn with_nat_each_port_of_an_instance_stands_for_one_vip_and_port() {
    let mut nat = model(&[("gw-1", 100, AdminState::Auto), ("gw-2", 100, AdminState::Down)]);
    nat.balancer.forwarding = Forwarding::Nat;
    let mut wish = desired(nat);
    let first = plan(&wish, None).unwrap();
    assert_eq!(first.config.flags, FLAG_NAT);
    let peers: BTreeSet<Address> = first.peers.values().copied().collect();
    let dips = wish.model.instances.iter().flat_map(|instance| &instance.dip);
    assert_eq!(peers, dips.map(|&dip| dip.into()).collect());
    for service in first.services.values() {
        let stands_for = |reply: &&Reply| reply.scope == service.scope;
        let reply = first.replies.values().find(stands_for).unwrap();
        assert_eq!((service.key as u16, service.backend_port), (reply.port, reply.key as u16));
    }
    // Those of closed ports are there too, and counted with their VIP.
    let vips: BTreeSet<u16> = first.vips.values().map(|vip| vip.scope).collect();
    let closed = first.replies.values().filter(|reply| vips.contains(&reply.scope)).count();
    assert_eq!(first.replies.len(), first.services.len() + closed);
    assert_eq!(first.replies.len(), 3 * vips.len());

    // Without a way of one of the VIPs' families, it would lose a part of its share.
    let mut half = wish.clone();
    half.ways.retain(|(name, dip), _| name.0 != "gw-1" || dip.is_ipv4());
    assert!(plan(&half, None).unwrap().ring.iter().all(|&word| word == Bucket::settled(0)));

    // An instance that is drained answers still; its addresses are forgotten with it.
    let mut fewer = (*wish.model).clone();
    fewer.instances.truncate(1);
    wish.model = Arc::new(fewer);
    let draining = plan(&wish, Some(&first)).unwrap();
    assert_eq!(draining.peers, first.peers);
    wish.ended.insert(InstanceName("gw-2".into()));
    let ended = plan(&wish, Some(&draining)).unwrap();
    assert_eq!(ended.peers.len(), wish.model.instances[0].dip.len());
}

#[test]
fn without_nat_nobody_is_looked_at_for_replies() {
    let plan = plan(&desired(model(&[("gw-1", 100, AdminState::Auto)])), None).unwrap();
    assert_eq!((plan.config.flags, plan.peers.len(), plan.replies.len()), (0, 0, 0));
    assert!(plan.services.values().all(|service| service.backend_port == 0));
}
