//! What the balancer answers by itself: echo replies, ICMP errors, resets. The answers come from the tests' own builder.

use std::net::{Ipv4Addr, Ipv6Addr};

use gateway_ebpf::{
    finish::{self, Job, TASK_RESET},
    host::HostTables,
    pipeline::Verdict,
    reason::Reason,
    tables::Answered,
};
use gateway_userspace::{
    model::Forwarding,
    plan::{self, Desired},
};
use network_types::ip::IpProto;

use super::{
    builder::{ACK, FIN, Fields, Packet, RST, SYN, sent_back},
    targets::{Action, Counted, Kernel, desired, host, model, run_on_host},
};

const PRIVATE: &str = "10.0.0.5";
const PRIVATE6: &str = "fd00:0:0:1::5";
const PUBLIC: &str = "203.0.113.5";
const INSIDE: &str = "10.0.7.7";
const INSIDE6: &str = "fd00:0:0:1::99";
const OUTSIDE: &str = "198.51.100.7";
const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 7)], &[(0x88a8, 7), (0x8100, 8)]];
const DF: u16 = 0x4000;
const MF: u16 = 0x2000;

/// What has to become of a frame.
enum Expected {
    /// Sent back, and nothing else counted.
    Reply(Vec<u8>),
    /// Counted as a drop of this scope and reason, and this error sent back.
    Error(&'static str, &'static str, Vec<u8>),
    /// Counted as a drop, and not a word.
    Silence(&'static str, &'static str),
    /// To an instance.
    Forward,
}
use Expected::{Error, Forward, Reply, Silence};

/// Fewer than a prefix may have at once: what one kernel answers must not depend on how fast the test is.
const AT_ONCE: usize = 8;

/// Runs every row in the kernel and on the host.
fn table(wish: &Desired, rows: Vec<(&str, Vec<u8>, Expected)>) {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        few(Kernel::new(wish), rows.by_ref().take(AT_ONCE));
    }
}

fn few<'r>(mut kernel: Kernel, rows: impl Iterator<Item = (&'r str, Vec<u8>, Expected)>) {
    let mut before = kernel.counters();
    for (row, frame, expected) in rows {
        let tables = host(&kernel.plan);
        let outcome = kernel.run(&frame);
        let (_, on_host) = run_on_host(&tables, &frame);
        assert_eq!(outcome, on_host, "{row}: kernel and host");
        let counted = before.difference(&kernel.counters());
        before = kernel.counters();
        assert_eq!(counted, Counted::of_host(&tables, &kernel.plan), "{row}: counters of kernel and host");
        let of = |drop: Option<(&str, &'static str)>, answer| Counted {
            dropped: drop.map(|(scope, reason)| ((scope.to_owned(), reason), 1)).into_iter().collect(),
            answered: answer,
            ..Counted::default()
        };
        let (action, after, expected) = match expected {
            Reply(reply) => (Action::Transmit, reply, of(None, [(Answered::Echo, 1)].into())),
            Error(scope, reason, error) => {
                (Action::Transmit, error, of(Some((scope, reason)), [(Answered::Error, 1)].into()))
            }
            Silence(scope, reason) => (Action::Drop, frame, of(Some((scope, reason)), [].into())),
            Forward => {
                assert!(outcome.action == Action::Transmit && !counted.forwarded.is_empty(), "{row}");
                assert!(counted.dropped.is_empty() && counted.answered.is_empty(), "{row}: {counted:?}");
                continue;
            }
        };
        assert_eq!(counted, expected, "{row}");
        assert_eq!(outcome.action, action, "{row}");
        assert_eq!(outcome.frame, after, "{row}");
    }
}

fn v4(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

fn v6(address: &str) -> Ipv6Addr {
    address.parse().unwrap()
}

/// An echo or its reply: identifier 1, sequence number 2.
fn echo(protocol: IpProto, kind: u8, code: u8, data: &[u8]) -> Packet {
    Packet::raw(protocol as u8, &[&[kind, code, 0, 0, 0, 1, 0, 2], data].concat())
}

#[test]
fn r13_the_private_vip_is_pinged_from_inside() {
    let mut rows = Vec::new();
    for tags in TAGS {
        for data in [&b""[..], b"x", b"0123456789abcdef", &[0xff; 1400]] {
            let fields = Fields { service: 0x28, identification: 0xfffe, fragment: DF, ttl: 3 };
            let request =
                echo(IpProto::Icmp, 8, 0, data).ipv4_of(v4(INSIDE), v4(PRIVATE), &[], &fields).ethernet(tags);
            let reply = echo(IpProto::Icmp, 0, 0, data)
                .ipv4_of(v4(PRIVATE), v4(INSIDE), &[], &Fields { ttl: 64, ..fields })
                .ethernet(tags);
            rows.push(("IPv4", request, Reply(sent_back(reply))));
            let request =
                echo(IpProto::Ipv6Icmp, 128, 0, data).ipv6(v6(INSIDE6), v6(PRIVATE6), 255).ethernet(tags);
            let reply = echo(IpProto::Ipv6Icmp, 129, 0, data).ip(PRIVATE6, INSIDE6).ethernet(tags);
            rows.push(("IPv6", request, Reply(sent_back(reply))));
        }
    }
    let zero = |kind| Packet::icmp(IpProto::Icmp, kind, 0, &[0; 6]);
    rows.push((
        "nothing but zeros, where the checksum has two forms and one is wrong",
        zero(8).ip(INSIDE, PRIVATE).ethernet(&[]),
        Reply(sent_back(zero(0).ip(PRIVATE, INSIDE).ethernet(&[]))),
    ));
    // Padding to the shortest frame of Ethernet stays behind the reply.
    let padded = |packet: Packet| [packet.ethernet(&[]), vec![0; 18]].concat();
    rows.push((
        "padded",
        padded(echo(IpProto::Icmp, 8, 0, b"").ip(INSIDE, PRIVATE)),
        Reply(sent_back(padded(echo(IpProto::Icmp, 0, 0, b"").ip(PRIVATE, INSIDE)))),
    ));
    table(&desired(model()), rows);
}

#[test]
fn r20_nobody_else_is_pinged() {
    let ping = |from, to| echo(IpProto::Icmp, 8, 0, b"data").ip(from, to).ethernet(&[]);
    let ping6 = |from: &str| echo(IpProto::Ipv6Icmp, 128, 0, b"data").ip(from, PRIVATE6).ethernet(&[]);
    let with = |options: &[u8], fragment| {
        echo(IpProto::Icmp, 8, 0, b"data").ip_with(INSIDE, PRIVATE, options, fragment).ethernet(&[])
    };
    let extended =
        echo(IpProto::Ipv6Icmp, 128, 0, b"data").extension(IpProto::Ipv6Opts, &[0, 1, 4, 0, 0, 0, 0]);
    table(
        &desired(model()),
        vec![
            ("the public VIP", ping(OUTSIDE, PUBLIC), Silence(PUBLIC, "icmp-echo")),
            ("the public VIP, from inside", ping(INSIDE, PUBLIC), Silence(PUBLIC, "icmp-echo")),
            ("from outside", ping(OUTSIDE, PRIVATE), Silence(PRIVATE, "source")),
            ("from outside, IPv6", ping6("2001:db8::7"), Silence(PRIVATE6, "source")),
            ("from a multicast address", ping6("ff02::1"), Silence(PRIVATE6, "bad-header")),
            ("record route", with(&[7, 7, 4, 0, 0, 0, 0, 0], 0), Silence(PRIVATE, "icmp-echo")),
            ("source route", with(&[131, 7, 4, 10, 0, 7, 1, 0], 0), Silence(PRIVATE, "icmp-echo")),
            ("no operation", with(&[1; 40], 0), Silence(PRIVATE, "icmp-echo")),
            ("first fragment", with(&[], MF), Silence(PRIVATE, "fragment")),
            ("later fragment", with(&[], 1), Silence(PRIVATE, "fragment")),
            (
                "an extension header",
                extended.ip(INSIDE6, PRIVATE6).ethernet(&[]),
                Silence(PRIVATE6, "icmp-echo"),
            ),
            (
                "a reply",
                echo(IpProto::Icmp, 0, 0, b"data").ip(INSIDE, PRIVATE).ethernet(&[]),
                Silence(PRIVATE, "icmp-type"),
            ),
            (
                "a reply, IPv6",
                echo(IpProto::Ipv6Icmp, 129, 0, b"data").ip(INSIDE6, PRIVATE6).ethernet(&[]),
                Silence(PRIVATE6, "icmp-type"),
            ),
            (
                "a timestamp request",
                echo(IpProto::Icmp, 13, 0, &[0; 12]).ip(INSIDE, PRIVATE).ethernet(&[]),
                Silence(PRIVATE, "icmp-type"),
            ),
        ],
    );
}

/// Instances behind IP in IP over IPv4, whose way carries 1,500 bytes: 20 less for a packet.
fn tunnelled() -> Desired {
    let mut model = model();
    model.balancer.forwarding = Forwarding::Ipip;
    desired(model)
}

/// TCP with so much data that the packet has `length` bytes, given what its IP header has.
fn sized(length: usize, header: usize) -> Packet {
    let data: Vec<u8> = (0..length - header - 20).map(|n| n as u8).collect();
    Packet::tcp(50_000, 443, ACK, 7).data(&data)
}

/// The ICMP error about an IPv4 packet: 576 bytes at most.
fn error(kind: u8, code: u8, mtu: u16, about: &Packet, to: &str) -> Packet {
    let [high, low] = mtu.to_be_bytes();
    let message = [&[kind, code, 0, 0, 0, 0, high, low][..], &about.clone().quoted(576 - 28)].concat();
    let fields = Fields { service: 0xc0, identification: 0, fragment: DF, ttl: 64 };
    Packet::raw(IpProto::Icmp as u8, &message).ipv4_of(v4(PRIVATE), v4(to), &[], &fields)
}

/// The ICMPv6 error about a packet: 1,280 bytes at most.
fn error6(kind: u8, mtu: u16, about: &Packet) -> Packet {
    let [high, low] = mtu.to_be_bytes();
    let message = [&[kind, 0, 0, 0, 0, 0, high, low][..], &about.clone().quoted(1280 - 48)].concat();
    Packet::raw(IpProto::Ipv6Icmp as u8, &message).ip(PRIVATE6, INSIDE6)
}

#[test]
fn r70_who_sends_too_big_a_packet_is_told_what_fits() {
    const SERVICE: &str = "10.0.0.5:443";
    const SERVICE6: &str = "[fd00:0:0:1::5]:443";
    let of = |length, fragment| sized(length, 20).ip_with(INSIDE, PRIVATE, &[], fragment);
    let of6 = |length| sized(length, 40).ip(INSIDE6, PRIVATE6);
    let needed = |about: &Packet| error(3, 4, 1480, about, INSIDE);
    let mut rows = vec![
        ("fits", of(1480, DF).ethernet(&[]), Forward),
        ("fits, IPv6", of6(1480).ethernet(&[]), Forward),
        ("may not be told", of(1481, 0).ethernet(&[]), Silence(SERVICE, "too-big")),
    ];
    for tags in TAGS {
        for length in [1481, 1499, 1500] {
            let (about, about6) = (of(length, DF), of6(length));
            let told = sent_back(needed(&about).ethernet(tags));
            rows.push(("too big", about.ethernet(tags), Error(SERVICE, "too-big", told)));
            let told = sent_back(error6(2, 1480, &about6).ethernet(tags));
            rows.push(("too big, IPv6", about6.ethernet(tags), Error(SERVICE6, "too-big", told)));
        }
    }
    table(&tunnelled(), rows);

    // Options are quoted, and an error answers for its flow alone.
    let options = sized(1500, 28).ip_with(INSIDE, PRIVATE, &[7, 7, 4, 0, 0, 0, 0, 0], DF);
    let told = sent_back(needed(&options).ethernet(&[]));
    let hop = sized(1500, 48).extension(IpProto::HopOpt, &[0, 5, 2, 0, 0, 1, 0]).ip(INSIDE6, PRIVATE6);
    let told6 = sent_back(error6(2, 1480, &hop).ethernet(&[]));
    let about_error = |kind| {
        let flow = Packet::tcp(443, 50_000, ACK, 1).ip(PRIVATE, INSIDE).quoted(40);
        let quote = [flow, vec![0; 1500 - 28 - 40]].concat();
        Packet::icmp(IpProto::Icmp, kind, 0, &quote).ip_with(INSIDE, PRIVATE, &[], DF).ethernet(&[])
    };
    table(
        &tunnelled(),
        vec![
            ("options", options.ethernet(&[]), Error(SERVICE, "too-big", told)),
            ("hop by hop", hop.ethernet(&[]), Error(SERVICE6, "too-big", told6)),
            ("an error", about_error(3), Silence(SERVICE, "too-big")),
            ("another", about_error(11), Silence(SERVICE, "too-big")),
        ],
    );
}

#[test]
fn an_ipv6_sender_is_never_told_less_than_1280() {
    let mut wish = tunnelled();
    wish.ways.values_mut().for_each(|way| way.mtu = 1290);
    let about = sized(1290, 40).ip(INSIDE6, PRIVATE6);
    let told = sent_back(error6(2, 1280, &about).ethernet(&[]));
    let about4 = sized(1290, 20).ip_with(INSIDE, PRIVATE, &[], DF);
    let told4 = sent_back(error(3, 4, 1270, &about4, INSIDE).ethernet(&[]));
    table(
        &wish,
        vec![
            ("IPv6", about.ethernet(&[]), Error("[fd00:0:0:1::5]:443", "too-big", told)),
            ("IPv4", about4.ethernet(&[]), Error("10.0.0.5:443", "too-big", told4)),
        ],
    );
}

#[test]
fn who_sends_a_packet_without_hops_left_is_told() {
    let mut rows = Vec::new();
    // Every remainder by eight, so that each way to end the quote is there.
    for length in (40..49).chain([547, 548, 549, 1000]) {
        let fields = Fields { ttl: 1, ..Fields::default() };
        let about = sized(length, 20).ipv4_of(v4(INSIDE), v4(PRIVATE), &[], &fields);
        let told = sent_back(error(11, 0, 0, &about, INSIDE).ethernet(&[]));
        rows.push(("IPv4", about.ethernet(&[]), Error("10.0.0.5:443", "hop-limit", told)));
    }
    table(&tunnelled(), rows);
    let mut rows = Vec::new();
    for length in (60..69).chain([1231, 1232, 1233]) {
        let about = sized(length, 40).ipv6(v6(INSIDE6), v6(PRIVATE6), 1);
        let told = sent_back(error6(3, 0, &about).ethernet(&[]));
        rows.push(("IPv6", about.ethernet(&[]), Error("[fd00:0:0:1::5]:443", "hop-limit", told)));
    }
    table(&tunnelled(), rows);
}

/// TCP with an acknowledgment number and a window, which the builder's segments do not have.
fn segment((from, to): (u16, u16), sequence: u32, acknowledgment: u32, flags: u8, data: &[u8]) -> Packet {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(acknowledgment.to_be_bytes());
    bytes.extend([5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    bytes.extend(data);
    Packet::raw(IpProto::Tcp as u8, &bytes)
}

/// What the slow program hands on for a TCP segment of a flow that is at an end; `header`: bytes of its IP header.
fn gone(is_v4: bool, tags: usize, header: usize, frame: &[u8]) -> Job {
    let start = 14 + 4 * tags;
    Job {
        task: TASK_RESET,
        is_v4: is_v4.into(),
        protocol: frame[start + if is_v4 { 9 } else { 6 }],
        scope: 1,
        type_at: start as u16 - 2,
        start: start as u16,
        payload: (start + header) as u16,
        end: frame.len() as u16,
        ..Job::default()
    }
}

fn tables() -> HostTables {
    HostTables::from(&plan::plan(&desired(model()), None).unwrap())
}

fn finished(frame: &mut Vec<u8>, tables: &HostTables, job: &Job) -> Verdict {
    let verdict = finish::finish(frame, tables, job);
    finish::answer(frame, tables, job, verdict)
}

#[test]
fn r82_a_segment_of_a_flow_that_is_gone_is_answered_by_a_reset() {
    const PORTS: (u16, u16) = (50_000, 443);
    const FIRST: u32 = 0xffff_ffff;
    const SEEN: u32 = 0xaaaa_0001;
    let tables = tables();
    // RFC 9293 §3.10.7.1: flags of the segment; sequence number, acknowledgment and flags of the reset.
    let cases = [
        (ACK, SEEN, 0, RST),
        (ACK | FIN, SEEN, 0, RST),
        (SYN | ACK, SEEN, 0, RST),
        (SYN, 0, 3, RST | ACK),
        (FIN, 0, 3, RST | ACK),
        (SYN | FIN, 0, 4, RST | ACK),
        (0, 0, 2, RST | ACK),
    ];
    for (flags, sequence, acknowledgment, answer) in cases {
        for tags in TAGS {
            let back = segment((PORTS.1, PORTS.0), sequence, acknowledgment, answer, b"");
            let fields = Fields { service: 0xc0, identification: 0, fragment: DF, ttl: 64 };
            let back4 = back.clone().ipv4_of(v4(PRIVATE), v4(INSIDE), &[], &fields).ethernet(tags);
            for options in [&[][..], &[1; 40]] {
                let about = segment(PORTS, FIRST, SEEN, flags, b"odd");
                let mut frame = about.ip_with(INSIDE, PRIVATE, options, 0).ethernet(tags);
                let job = gone(true, tags.len(), 20 + options.len(), &frame);
                assert_eq!(finished(&mut frame, &tables, &job), Verdict::Transmit, "flags {flags:#x}");
                assert_eq!(frame, sent_back(back4.clone()), "flags {flags:#x}, {tags:?}, {options:?}");
            }
            let mut frame = segment(PORTS, FIRST, SEEN, flags, b"odd").ip(INSIDE6, PRIVATE6).ethernet(tags);
            let job = gone(false, tags.len(), 40, &frame);
            assert_eq!(finished(&mut frame, &tables, &job), Verdict::Transmit, "flags {flags:#x}");
            assert_eq!(frame, sent_back(back.ip(PRIVATE6, INSIDE6).ethernet(tags)), "flags {flags:#x}");
        }
    }
    let counters = tables.counters.borrow();
    assert_eq!(counters.drops, [((1, Reason::Gone), 63)].into());
    assert_eq!(counters.answers, [(Answered::Reset, 63)].into());
}

#[test]
fn r82_a_reset_is_never_answered() {
    let tables = tables();
    let datagram = Packet::udp(50_000, 443, b"data").ip(INSIDE, PRIVATE).ethernet(&[]);
    let later = Packet::raw(IpProto::Tcp as u8, &[0; 40]).ip_with(INSIDE, PRIVATE, &[], 1).ethernet(&[]);
    let from = |source| Packet::tcp(50_000, 443, ACK, 7).ip(source, PRIVATE).ethernet(&[]);
    let reset = |flags| Packet::tcp(50_000, 443, flags, 7).ip(INSIDE, PRIVATE).ethernet(&[]);
    let silent = [
        reset(RST),
        reset(RST | ACK),
        datagram,
        later,
        from("0.0.0.0"),
        from("127.0.0.1"),
        from("224.0.0.1"),
        from("255.255.255.255"),
    ];
    for frame in silent {
        let mut after = frame.clone();
        let job = gone(true, 0, 20, &frame);
        assert_eq!(finished(&mut after, &tables, &job), Verdict::Drop(Reason::Gone), "{frame:02x?}");
        assert_eq!(after, frame);
    }
    assert!(tables.counters.borrow().answers.is_empty());
}

#[test]
fn what_is_answered_in_a_second_is_limited() {
    const SECOND: u64 = 1_000_000_000;
    let mut tables = tables();
    tables.now = SECOND;
    let ping = |source: &str| echo(IpProto::Icmp, 8, 0, b"data").ip(source, PRIVATE).ethernet(&[]);
    let answered = |tables: &HostTables, source: &str, tries: usize| {
        let verdicts = (0..tries).map(|_| run_on_host(tables, &ping(source)).0);
        verdicts.filter(|&verdict| verdict == Verdict::Transmit).count()
    };
    assert_eq!(answered(&tables, "10.0.7.7", 200), 50, "the burst");
    assert_eq!(answered(&tables, "10.0.7.8", 200), 0, "of its whole /24");
    assert_eq!(answered(&tables, "10.0.8.8", 200), 50, "another one has its own");
    assert_eq!(answered(&tables, "10.0.9.9", 200), 0, "as long as there is something for all");
    tables.now += SECOND / 10;
    assert_eq!(answered(&tables, "10.0.7.7", 200), 10, "100 a second");
    let counters = tables.counters.borrow();
    let limited = 150 + 200 + 150 + 200 + 190;
    assert_eq!(counters.answers, [(Answered::Echo, 110), (Answered::Limited, limited)].into());
    let dropped: Vec<_> = counters.drops.iter().map(|(&(_, reason), &count)| (reason, count)).collect();
    assert_eq!(dropped, [(Reason::RateLimit, limited)]);
}

#[test]
fn an_error_beyond_the_limit_is_a_drop_like_any_other() {
    let mut kernel = Kernel::new(&tunnelled());
    let frame = sized(1500, 20).ip_with(INSIDE, PRIVATE, &[], DF).ethernet(&[]);
    let outcomes: Vec<_> = (0..100).map(|_| kernel.run(&frame)).collect();
    let counted = kernel.counters();
    let answered = counted.answered[&Answered::Error];
    // On each CPU a burst of 10, and 20 a second.
    assert!((10..90).contains(&answered), "{counted:?}");
    assert_eq!(outcomes.iter().filter(|out| out.action == Action::Transmit).count() as u64, answered);
    assert_eq!(counted.answered[&Answered::Limited], 100 - answered);
    assert_eq!(counted.dropped, [(("10.0.0.5:443".to_owned(), "too-big"), 100)].into());
}
