//! Whose a segment of a moved bucket is, by lists of hops.

use std::collections::BTreeMap;

use gateway_ebpf::decap::Settled;
use network_types::ip::IpProto;

use super::fixture::{
    BALANCER, BALANCER6, DIP6, INSIDE, Instance, V4, V6, VIP, ids, list, steered, to_instance, wish,
};
use crate::{
    builder::{ACK, FIN, Packet, RST, SYN},
    targets::Action,
};

/// What gw-1 sends to the n-th instance where it was sent `inner` with another list.
fn handed_on(n: u8, inner: Packet, private: &[u8]) -> Vec<u8> {
    let to = format!("10.0.0.1{n}");
    to_instance(n, inner.gue(0xc001, private).ip(BALANCER, &to).hops(63).ethernet(&[]))
}

fn settled(how: Settled) -> BTreeMap<Settled, u64> {
    [(how, 1)].into()
}

#[test]
fn a_segment_of_nobodys_goes_to_the_next_hop_that_is_known() {
    let mut instance = Instance::new(&wish(false));
    let (second, third) = ids();
    let segment = || V4.segment(ACK, 7);
    for (row, before, after, n) in [
        ("first", list(0, 9, &[second, third]), list(1, 9, &[second, third]), 2),
        ("second", list(1, 9, &[second, third]), list(2, 9, &[second, third]), 3),
        ("an unknown one is passed over", list(0, 9, &[4711, third]), list(2, 9, &[4711, third]), 3),
        ("an empty one too", list(0, 9, &[0, 0, second]), list(3, 9, &[0, 0, second]), 2),
        ("the seventh", list(6, 9, &[0, 0, 0, 0, 0, 0, third]), list(7, 9, &[0, 0, 0, 0, 0, 0, third]), 3),
    ] {
        let became = instance.both(row, &steered(segment(), &before).ethernet(&[]));
        assert_eq!(became.outcome.action, Action::Transmit, "{row}: {:?}", became.counted);
        assert_eq!(became.outcome.frame, handed_on(n, segment(), &after), "{row}");
        assert_eq!(became.settled, settled(Settled::Forwarded), "{row}");
        assert!(became.counted.forwarded.is_empty(), "{row}: {:?}", became.counted);
    }
    // Balancers leave the UDP checksum out over IPv4.
    let plain = steered(segment(), &list(0, 9, &[second])).byte(26, 0).byte(27, 0).ethernet(&[]);
    let mut expected = handed_on(2, segment(), &list(1, 9, &[second]));
    expected[40..42].fill(0);
    assert_eq!(instance.both("no checksum", &plain).outcome.frame, expected);
}

#[test]
fn a_hop_by_another_interface_is_redirected_to() {
    let mut wish = wish(false);
    let (second, _) = ids();
    let mut other = wish.interfaces[0];
    other.index = 77;
    wish.interfaces.push(other);
    wish.ways.values_mut().for_each(|way| way.interface = 77);
    let plan = gateway_userspace::plan::instance(&wish, None).unwrap();
    let tables = gateway_ebpf::host::HostTables { interface: 1, ..(&plan).into() };
    let mut frame = steered(V4.segment(ACK, 7), &list(0, 9, &[second])).ethernet(&[]);
    let sockets = gateway_ebpf::host::HostSockets::default();
    let verdict = gateway_ebpf::decap::decap(&mut frame, &tables, &sockets);
    assert_eq!(verdict, gateway_ebpf::pipeline::Verdict::Redirect(1));
}

#[test]
fn over_ipv6_the_checksum_goes_on_being_right() {
    let mut instance = Instance::new(&wish(true));
    let (second, third) = ids();
    for flow in [V4, V6] {
        let inner = || flow.segment(ACK | FIN, 7);
        let frame = inner().gue(0xc001, &list(0, 9, &[second, third])).ip(BALANCER6, DIP6).ethernet(&[]);
        let became = instance.both(flow.vip, &frame);
        let on = inner().gue(0xc001, &list(1, 9, &[second, third])).ip(BALANCER6, "fd00:0:0:1::12").hops(63);
        assert_eq!(became.outcome.action, Action::Transmit);
        assert_eq!(became.outcome.frame, to_instance(2, on.ethernet(&[])));
    }
    // Where the balancers reach the instances over IPv6, no hop has an address of the other family.
    let over_v4 = steered(V4.segment(ACK, 7), &list(0, 9, &[second])).ethernet(&[]);
    let became = instance.unwraps("over IPv4", &over_v4, V4.segment(ACK, 7), V4.service());
    assert_eq!(became.settled, settled(Settled::Last));
}

#[test]
fn beginnings_are_the_first_ones_and_the_last_hop_has_what_is_nobodys() {
    let mut instance = Instance::new(&wish(false));
    let (second, third) = ids();
    let all = list(0, 9, &[second, third]);
    let asked = list(2, 9, &[second, third]);
    for (row, private, flags, how) in [
        ("SYN", &all, SYN, Settled::Syn),
        ("last", &asked, ACK, Settled::Last),
        ("last, RST", &asked, RST, Settled::Last),
        ("no list", &list(0, 9, &[]), ACK, Settled::Last),
        ("none that is known", &list(0, 9, &[4711]), ACK, Settled::Last),
        ("asked beyond the end", &list(200, 9, &[second]), ACK, Settled::Last),
    ] {
        let frame = steered(V4.segment(flags, 7), private).ethernet(&[]);
        let became = instance.unwraps(row, &frame, V4.segment(flags, 7), V4.service());
        assert_eq!(became.settled, settled(how), "{row}");
    }
    // More than fit.
    let mut long = list(7, 9, &[second; 7]);
    long[1] = 255;
    let frame = steered(V4.segment(ACK, 7), &long).ethernet(&[]);
    instance.unwraps("a list beyond its end", &frame, V4.segment(ACK, 7), V4.service());
    let spent = steered(V4.segment(ACK, 7), &all).hops(1).ethernet(&[]);
    instance.drops("no hops left", &spent, V4.service(), "hop-limit");
}

#[test]
fn an_icmp_error_takes_its_flows_way() {
    let mut instance = Instance::new(&wish(false));
    let (second, _) = ids();
    let quote = Packet::tcp(443, V4.port, ACK, 1).ip(VIP, INSIDE).quoted(28);
    let error = || Packet::icmp(IpProto::Icmp, 3, 4, &quote).ip("10.0.9.1", VIP);
    let frame = steered(error(), &list(0, 9, &[second])).ethernet(&[]);
    let became = instance.both("nobody's", &frame);
    assert_eq!(became.outcome.frame, handed_on(2, error(), &list(1, 9, &[second])));
    instance.sockets.flows.insert(V4.key());
    assert_eq!(instance.run_on_host(&frame).settled, settled(Settled::Socket));
}

#[test]
fn the_last_hop_resets_nothing_on_the_word_of_a_balancer_that_is_behind() {
    let mut instance = Instance::new(&wish(false));
    let frame = |generation| steered(V4.segment(ACK, 7), &list(0, generation, &[])).ethernet(&[]);
    let newer = u32::MAX - 1;
    instance.unwraps("the first", &frame(newer), V4.segment(ACK, 7), V4.service());
    instance.unwraps("as new", &frame(newer), V4.segment(ACK, 7), V4.service());
    let stale = instance.both("older", &frame(newer - 1));
    assert_eq!((stale.outcome.action, stale.settled), (Action::Drop, settled(Settled::Stale)));
    assert_eq!(stale.counted.dropped, [((V4.service().to_owned(), "stale"), 1)].into());
    // Beyond the end of 32 bits it goes on with 0.
    instance.unwraps("newer", &frame(3), V4.segment(ACK, 7), V4.service());
    instance.drops("no longer new", &frame(newer), V4.service(), "stale");
    // What has a socket is that socket's, whoever sent it; what begins a connection begins one.
    instance.sockets.flows.insert(V4.key());
    assert_eq!(instance.run_on_host(&frame(newer)).settled, settled(Settled::Socket));
    let syn = steered(V4.segment(SYN, 7), &list(0, newer, &[])).ethernet(&[]);
    instance.unwraps("SYN", &syn, V4.segment(SYN, 7), V4.service());
}
