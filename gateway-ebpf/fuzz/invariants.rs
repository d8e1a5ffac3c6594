//! What holds for every frame, whatever is in it. The fuzzer looks for one for which it does not; a test of the workspace
//! replays the corpus.

use std::net::IpAddr;

use gateway_ebpf::{
    finish,
    host::Counters,
    layout::{WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6, WAY_LINK},
    pipeline::{self, Verdict},
    reason::Reason,
};

use super::{
    seen::{Load, Part, Seen, number, see},
    world::{Choice, INSTANCE, OURS, World},
};

const PRIVATE: [&str; 2] = ["10.0.0.5", "fd00:0:0:1::5"];
const PUBLIC: [&str; 2] = ["203.0.113.5", "2001:db8::5"];

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    verdict: Verdict,
    frame: Vec<u8>,
    counters: Counters,
}

/// Panics if an invariant does not hold. The first byte of the input chooses the tables, the rest is the frame.
pub(crate) fn check(input: &[u8]) {
    let Some((&choice, frame)) = input.split_first() else { return };
    let choice = Choice::new(choice);
    let world = World::new(choice);
    let outcome = run(&world, frame, pipeline::balance);

    assert_eq!(run(&World::new(choice), frame, pipeline::balance), outcome, "fresh tables, another outcome");
    let again = run(&world, frame, pipeline::balance);
    assert_eq!((again.verdict, &again.frame), (outcome.verdict, &outcome.frame), "not the same twice");
    let fast = run(&World::new(choice), frame, pipeline::fast);
    let slow = run(&World::new(choice), frame, slow);
    if fast.verdict == Verdict::Slow {
        assert_eq!((fast.frame.as_slice(), fast.counters), (frame, Counters::default()), "not left alone");
    } else {
        assert_eq!(fast, slow, "the fast program and the slow one disagree");
    }
    // What the fast program noted before it left the packet to the slow one, that one finds noted.
    let settled = |outcome: &Outcome| outcome.counters.settled.values().sum::<u64>();
    assert_eq!(settled(&slow), settled(&outcome));
    let alone =
        Outcome { counters: Counters { settled: outcome.counters.settled.clone(), ..slow.counters }, ..slow };
    assert_eq!(alone, outcome);

    let seen = see(frame);
    let drops: u64 = outcome.counters.drops.values().sum();
    let traffic = |traffic: Option<&gateway_ebpf::layout::Traffic>| traffic.map(|t| (t.packets, t.bytes));
    let (services, instances) = (&outcome.counters.services, &outcome.counters.instances);
    let counted = (traffic(services.values().next()), traffic(instances.values().next()));
    let count = (services.len(), instances.len(), drops);
    match outcome.verdict {
        Verdict::Pass => {
            assert_eq!((outcome.frame.as_slice(), count), (frame, (0, 0, 0)), "passed, but not untouched");
        }
        Verdict::Drop(reason) => {
            assert_eq!(
                (outcome.frame.as_slice(), count),
                (frame, (0, 0, 1)),
                "dropped, not once: {reason:?}"
            );
            assert!(
                seen.as_ref().is_some_and(is_for_vip) || reason == Reason::VlanDepth,
                "dropped, but for no VIP (R24): {reason:?}"
            );
        }
        Verdict::Transmit | Verdict::Redirect(_) | Verdict::Deliver => {
            let once = Some((1, frame.len() as u64));
            assert_eq!((count, counted), ((1, 1, 0), (once, once)), "forwarded, not counted once");
            let seen = seen.expect("forwarded, but not IP");
            admitted(&seen);
            if outcome.verdict == Verdict::Deliver {
                assert_eq!(outcome.frame, frame, "delivered, but not untouched");
            } else {
                rewritten(choice, frame, &seen, &outcome.frame);
            }
        }
        Verdict::Slow | Verdict::Reply => panic!("nobody decided"),
    }
}

fn run(world: &World, frame: &[u8], decide: impl Fn(&mut Vec<u8>, &World) -> Verdict) -> Outcome {
    let mut frame = frame.to_vec();
    let verdict = decide(&mut frame, world);
    Outcome { verdict, frame, counters: world.counters.take() }
}

/// The slow way alone, for what the fast program decides.
fn slow(frame: &mut Vec<u8>, world: &World) -> Verdict {
    match pipeline::slow(frame, world) {
        Ok(job) => {
            let verdict = finish::finish(frame, world, &job);
            finish::answer(frame, world, &job, verdict)
        }
        Err(verdict) => verdict,
    }
}

fn is_one_of(addresses: [&str; 2], address: IpAddr) -> bool {
    addresses.into_iter().any(|one| one.parse() == Ok(address))
}

fn is_for_vip(seen: &Seen) -> bool {
    is_one_of(PRIVATE, seen.destination) || is_one_of(PUBLIC, seen.destination)
}

fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..2] == [10, 0],
        IpAddr::V6(v6) => v6.segments()[..4] == [0xfd00, 0, 0, 1],
    }
}

/// R14, R20, R22: who and what is let in.
fn admitted(seen: &Seen) {
    let Seen { source, destination, part, ref load, .. } = *seen;
    if is_one_of(PUBLIC, destination) {
        assert_eq!(part, Part::Whole, "a fragment to the public VIP");
        match *load {
            Load::Tcp(port) => assert_eq!(port, 3443, "an open port (R20)"),
            Load::Error { from, port, .. } => assert_eq!((from, port), (destination, 3443), "R22"),
            Load::Other => panic!("neither TCP nor an error about it (R20)"),
        }
        return;
    }
    assert!(is_one_of(PRIVATE, destination), "forwarded, but for no VIP (R24)");
    match *load {
        Load::Tcp(port) => assert!(is_inside(source) && [80, 443, 3443].contains(&port), "R13, R14"),
        Load::Error { from, port, to } => {
            assert!(from == destination && is_inside(to) && [80, 443, 3443].contains(&port), "R22");
        }
        // No input has the first fragment before it.
        Load::Other => panic!("neither TCP nor an error about it (R13)"),
    }
}

/// The packet is what it was, but one hop older where something was put around it.
fn rewritten(choice: Choice, before: &[u8], seen: &Seen, after: &[u8]) {
    assert_eq!((&after[..5], &after[6..12]), (&INSTANCE[..], &OURS[..]), "addresses of the link");
    assert!(matches!(after[5], 1 | 2), "no instance's");
    let overhead = match choice.way {
        WAY_LINK => {
            assert_eq!(after[12..], before[12..], "more than the MAC addresses");
            return;
        }
        WAY_IPIP4 => 20,
        WAY_IPIP6 => 40,
        WAY_GUE4 => 20 + 12,
        WAY_GUE6 => 40 + 12,
        other => panic!("way {other}"),
    };
    assert_eq!(after.len(), before.len() + overhead);
    assert_eq!(after[12..seen.start - 2], before[12..seen.start - 2], "VLAN tags");
    let (outer, inner) = after[seen.start..].split_at(overhead);
    let was = &before[seen.start..];
    let is_v4 = was[0] >> 4 == 4;
    let hops = if is_v4 { 8 } else { 7 };
    assert!(was[hops] > 1 && inner[hops] == was[hops] - 1, "one hop");
    let mut expected = was.to_vec();
    expected[hops] -= 1;
    if is_v4 {
        expected[10..12].copy_from_slice(&inner[10..12]);
        let header = usize::from(was[0] & 15) * 4;
        assert_eq!(sum(&inner[..header]), sum(&was[..header]), "a checksum as right or wrong as it was");
    }
    assert_eq!(inner, expected, "the packet");
    outer_header(choice.way, outer, seen.length, is_v4);
}

fn outer_header(way: u16, outer: &[u8], length: usize, is_v4: bool) {
    let carried = if is_v4 { 4 } else { 41 };
    let (protocol, rest) = if matches!(way, WAY_IPIP4 | WAY_GUE4) {
        assert_eq!((outer[0], sum(&outer[..20]), outer[8]), (0x45, 0, 64), "outer header");
        assert_eq!(number(outer, 2), u16::try_from(length + outer.len()).ok(), "outer length");
        (outer[9], &outer[20..])
    } else {
        assert_eq!((outer[0] >> 4, outer[7]), (6, 64), "outer header");
        assert_eq!(number(outer, 4), u16::try_from(length + outer.len() - 40).ok(), "outer length");
        (outer[6], &outer[40..])
    };
    if rest.is_empty() {
        return assert_eq!(protocol, carried);
    }
    assert_eq!((protocol, number(rest, 2), rest[9]), (17, Some(6080), carried), "GUE");
    assert_eq!(number(rest, 4), u16::try_from(length + 12).ok(), "UDP length");
}

/// RFC 1071, of a header with its checksum: 0 if that is right.
fn sum(bytes: &[u8]) -> u32 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u32::from(b)));
    words.sum::<u32>() % 0xffff
}
