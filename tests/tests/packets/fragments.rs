//! Fragments to the private VIP: a datagram's later ones reach the instance of its first one, or nobody (R22, R23).

use gateway_ebpf::host::HostTables;
use network_types::ip::IpProto;
use proptest::prelude::*;

use super::{
    builder::{ACK, Packet, SYN, forwarded},
    parity::now,
    targets::{Action, Counted, Kernel, desired, host, mac, model, name, run_on_host},
};

const PRIVATE: &str = "10.0.0.5";
const PRIVATE6: &str = "fd00:0:0:1::5";
const PUBLIC: &str = "203.0.113.5";
const INSIDE: &str = "10.0.7.7";
const INSIDE6: &str = "fd00:0:0:1::99";
const OUTSIDE: &str = "198.51.100.7";
const PAYLOAD: usize = 20 + 44;

/// The kernel's tables and the host's, which have seen the same packets.
struct Both {
    kernel: Kernel,
    tables: HostTables,
}

impl Both {
    fn new() -> Self {
        let kernel = Kernel::new(&desired(model()));
        let tables = host(&kernel.plan);
        Self { kernel, tables }
    }

    /// The instance that a frame reaches, by number; the frame is otherwise untouched.
    fn send(&mut self, frame: &[u8]) -> Option<u8> {
        self.tables.now = now();
        let outcome = self.kernel.run(frame);
        let (verdict, on_host) = run_on_host(&self.tables, frame);
        assert_eq!(outcome, on_host, "kernel and host, {verdict:?}");
        to(outcome.action, frame, &outcome.frame)
    }

    /// Drops so far of one reason.
    fn dropped(&self, scope: &str, reason: &'static str) -> u64 {
        let counted = self.kernel.counters();
        assert_eq!(counted, Counted::of_host(&self.tables, &self.kernel.plan));
        counted.dropped.get(&(scope.to_owned(), reason)).copied().unwrap_or_default()
    }
}

fn to(action: Action, frame: &[u8], out: &[u8]) -> Option<u8> {
    match action {
        Action::Drop => None,
        Action::Transmit => {
            let instance = (1..=2).find(|&n| out == forwarded(frame, mac(n)));
            Some(instance.unwrap_or_else(|| panic!("{out:02x?}")))
        }
        other => panic!("{other:?}"),
    }
}

fn data(port: u16) -> Packet {
    Packet::tcp(port, 443, ACK, 7).data(&[0xdd; PAYLOAD - 20])
}

fn v4(port: u16) -> Packet {
    data(port).ip(INSIDE, PRIVATE)
}

/// Three fragments, the first with the whole TCP header.
fn three(packet: &Packet, id: u32) -> [Vec<u8>; 3] {
    [0..24, 24..48, 48..PAYLOAD].map(|octets| packet.fragment(id, octets).ethernet(&[]))
}

#[test]
fn r22_later_fragments_follow_the_first_whatever_comes_between() {
    let mut both = Both::new();
    let datagrams: Vec<_> = (0..40).map(|n| three(&v4(40_000 + n), u32::from(n))).collect();
    let v6: Vec<_> =
        (0..40).map(|n| three(&data(40_000 + n).ip(INSIDE6, PRIVATE6), 0x1_0000 + u32::from(n))).collect();
    let all: Vec<_> = datagrams.iter().chain(&v6).collect();
    let first: Vec<_> = all.iter().map(|[first, ..]| both.send(first).unwrap()).collect();
    assert!(first.contains(&1) && first.contains(&2), "both instances have datagrams: {first:?}");
    // The last one first, and each datagram between all others.
    for (part, [_, middle, last]) in first.iter().zip(&all) {
        assert_eq!(both.send(last), Some(*part));
        assert_eq!(both.send(middle), Some(*part));
    }
    let whole: Vec<_> = (0..40).map(|n| both.send(&v4(40_000 + n).ethernet(&[])).unwrap()).collect();
    assert_eq!(whole, first[..40], "a flow's fragments go where its packets go");
    let forwarded = both.kernel.counters().forwarded["10.0.0.5:443"];
    assert_eq!((forwarded.0, forwarded.2), (40 * 4, 0), "counted for the service");
}

#[test]
fn r22_options_tags_and_extension_headers_change_nothing() {
    let mut both = Both::new();
    let options = Packet::tcp(9, 443, SYN, 1).data(&[1; PAYLOAD - 20]).ip_with(
        INSIDE,
        PRIVATE,
        &[7, 7, 4, 0, 0, 0, 0, 0],
        0,
    );
    let first = both.send(&options.fragment(5, 0..32).ethernet(&[(0x8100, 7)]));
    assert!(first.is_some());
    assert_eq!(both.send(&options.fragment(5, 32..PAYLOAD).ethernet(&[(0x88a8, 7), (0x8100, 9)])), first);
    // RFC 8200 §4.5: options in the first fragment, which the later ones name but do not have.
    let extended = data(9).extension(IpProto::Ipv6Opts, &[0, 1, 4, 0, 0, 0, 0]).ip(INSIDE6, PRIVATE6);
    let first = both.send(&extended.fragment(5, 0..32).ethernet(&[]));
    assert!(first.is_some());
    assert_eq!(both.send(&extended.fragment(5, 32..PAYLOAD + 8).ethernet(&[])), first);
}

#[test]
fn r22_a_fragment_without_its_first_is_dropped_and_counted() {
    let mut both = Both::new();
    let [first, middle, last] = three(&v4(9), 1);
    assert_eq!((both.send(&middle), both.send(&last)), (None, None));
    let to = both.send(&first);
    assert!(to.is_some());
    // Another datagram, another sender, another protocol.
    assert_eq!(both.send(&three(&v4(9), 2)[1]), None);
    assert_eq!(both.send(&three(&data(9).ip("10.0.7.8", PRIVATE), 1)[1]), None);
    let udp = Packet::udp(9, 443, &[0; PAYLOAD - 8]).ip(INSIDE, PRIVATE);
    assert_eq!(both.send(&three(&udp, 1)[1]), None);
    assert_eq!(both.dropped(PRIVATE, "fragment-early"), 5);
    assert_eq!(both.send(&middle), to);
    // A first fragment that is refused leaves no note.
    let closed = three(&Packet::tcp(9, 22, ACK, 7).data(&[0; PAYLOAD - 20]).ip(INSIDE, PRIVATE), 3);
    assert_eq!(closed.map(|frame| both.send(&frame)), [None; 3]);
    assert_eq!((both.dropped(PRIVATE, "no-service"), both.dropped(PRIVATE, "fragment-early")), (1, 7));
}

#[test]
fn r14_a_fragment_from_outside_is_dropped_for_its_source() {
    let mut both = Both::new();
    for frame in three(&data(9).ip(OUTSIDE, PRIVATE), 1) {
        assert_eq!(both.send(&frame), None);
    }
    assert_eq!(both.dropped(PRIVATE, "source"), 3);
}

#[test]
fn r23_fragments_that_hide_a_header_are_dropped() {
    let mut both = Both::new();
    let packet = v4(9);
    let tcp_over_v6 = data(9).ip(INSIDE6, PRIVATE6);
    let udp = Packet::udp(9, 443, &[0; 56]).ip(INSIDE, PRIVATE);
    for frame in [
        // RFC 1858: a first fragment without the flags, and the second one with them.
        packet.fragment(1, 0..8).ethernet(&[]),
        packet.fragment(1, 8..32).ethernet(&[]),
        packet.fragment(2, 0..16).ethernet(&[]),
        udp.fragment(3, 0..4).ethernet(&[]),
        // Not a multiple of eight, nothing, and beyond the end of any datagram.
        packet.fragment(4, 0..30).ethernet(&[]),
        packet.fragment(5, 24..24).ethernet(&[]),
        Packet::raw(6, &[0; 24]).ip_with(INSIDE, PRIVATE, &[], 0x1fff).ethernet(&[]),
    ] {
        assert_eq!(both.send(&frame), None, "{frame:02x?}");
    }
    assert_eq!(both.dropped(PRIVATE, "bad-length"), 7);
    for octets in [0..8, 8..32, 0..16] {
        assert_eq!(both.send(&tcp_over_v6.fragment(1, octets).ethernet(&[])), None);
    }
    assert_eq!(both.dropped(PRIVATE6, "bad-length"), 3);
}

#[test]
fn r22_icmp_and_the_public_vip_have_no_fragments() {
    let mut both = Both::new();
    let ping = Packet::icmp(IpProto::Icmp, 8, 0, &[0; PAYLOAD - 8]).ip(INSIDE, PRIVATE);
    let public = Packet::tcp(9, 3443, ACK, 7).data(&[0; PAYLOAD - 20]).ip(OUTSIDE, PUBLIC);
    for frame in three(&ping, 1).into_iter().chain(three(&public, 1)) {
        assert_eq!(both.send(&frame), None);
    }
    assert_eq!((both.dropped(PRIVATE, "fragment"), both.dropped(PUBLIC, "fragment")), (3, 3));
}

#[test]
fn r12_in_a_moved_bucket_the_first_fragment_decides_for_all() {
    let mut wish = desired(model());
    let mut kernel = Kernel::new(&wish);
    let send = |kernel: &mut Kernel, frame: &[u8]| {
        let out = kernel.run(frame);
        to(out.action, frame, &out.frame)
    };
    let datagrams: Vec<_> = (0..50).map(|n| three(&v4(40_000 + n), u32::from(n))).collect();
    let began: Vec<_> = datagrams.iter().map(|[first, ..]| send(&mut kernel, first)).collect();
    let mut alone = (*wish.model).clone();
    alone.instances.truncate(1);
    wish.model = alone.into();
    kernel.step(&wish);
    let syn = |port| Packet::tcp(port, 443, SYN, 1).data(&[0; PAYLOAD - 20]).ip(INSIDE, PRIVATE);
    for (n, ([first, middle, last], began)) in (0..).zip(datagrams.iter().zip(began)) {
        assert_eq!(send(&mut kernel, middle), began, "the first one came before the change");
        assert_eq!(send(&mut kernel, first), began, "an established flow");
        assert_eq!(send(&mut kernel, last), began);
        // TCP Fast Open: a new flow goes to the bucket's owner, data and all.
        let opening = three(&syn(50_000 + n), 1_000 + u32::from(n));
        assert_eq!(opening.map(|frame| send(&mut kernel, &frame)), [Some(1); 3]);
    }
    // The number of an instance that is gone for good is in no note.
    wish.ended.insert(name("gw-2"));
    kernel.step(&wish);
    let after: Vec<_> = datagrams.iter().map(|[_, middle, _]| send(&mut kernel, middle)).collect();
    assert!(after.contains(&None) && !after.contains(&Some(2)), "{after:?}");
}

#[test]
fn r22_a_full_table_loses_datagrams_but_misleads_none() {
    let mut both = Both::new();
    let datagrams = 45_000u32;
    let packet = |n: u32| v4(1_024 + (n % 60_000) as u16);
    let began: Vec<_> =
        (0..datagrams).map(|n| both.send(&packet(n).fragment(n, 0..24).ethernet(&[])).unwrap()).collect();
    let mut lost = 0;
    for (n, began) in (0..datagrams).zip(began) {
        match both.send(&packet(n).fragment(n, 24..PAYLOAD).ethernet(&[])) {
            Some(to) => assert_eq!(to, began, "datagram {n}"),
            None => lost += 1,
        }
    }
    // 32,768 notes have a place.
    assert!((12_232..20_000).contains(&lost), "{lost} of {datagrams} lost");
    assert_eq!(both.dropped(PRIVATE, "fragment-early"), lost);
}

proptest! {
    #[test]
    fn r22_all_fragments_after_the_first_reach_one_instance(
        port: u16,
        id: u32,
        is_v6: bool,
        cuts in prop::collection::btree_set(3usize..100, 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let plan = gateway_userspace::plan::plan(&desired(model()), None).unwrap();
        let tables = host(&plan);
        let packet = Packet::tcp(port, 443, ACK, 7).data(&[0xdd; 800]);
        let packet =
            if is_v6 { packet.ip(INSIDE6, PRIVATE6) } else { packet.ip(INSIDE, PRIVATE) };
        let ends: Vec<_> = cuts.iter().map(|cut| cut * 8).chain([820]).collect();
        let parts: Vec<_> =
            ends.windows(2).map(|ends| packet.fragment(id, ends[0]..ends[1]).ethernet(&[])).collect();
        let place = |frame: &[u8]| {
            let (_, out) = run_on_host(&tables, frame);
            to(out.action, frame, &out.frame)
        };
        prop_assert_eq!(place(&parts[0]), None, "early");
        let first = place(&packet.fragment(id, 0..ends[0]).ethernet(&[]));
        prop_assert!(first.is_some());
        for index in order {
            prop_assert_eq!(place(&parts[index.index(parts.len())]), first);
        }
    }
}
