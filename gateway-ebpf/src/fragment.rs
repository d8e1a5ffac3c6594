//! Fragments of a datagram (RFC 791 §3.2, RFC 8200 §4.5): only the first one has ports, and the others have to follow it.
//!
//! The first is steered like any packet, and noted; a later one goes where its note says. One that comes before its first, or long
//! after it, is dropped: a guess would be wrong for all but one instance. A note is one word in a line of eight, written by one store,
//! without locks:
//!
//! | bits | |
//! |---|---|
//! | 32 | tag, of source, VIP, identification and (IPv4) protocol |
//! | 12 | when the first fragment came, in units of 2³³ ns (8.6 s) |
//! | 8 | scope of the service |
//! | 12 | instance |

use network_types::ip::IpProto;

use crate::{
    address::{FIVE_TUPLE, Flow, V4, mix},
    admit,
    headers::{Tcp, Udp},
    layout::{Block, FRAGMENT_LINES, INSTANCES, NOTES, SCOPES, VIP_FRAGMENTS, Vip},
    parse::{MORE_FRAGMENTS, Packet},
    reason::Reason,
    tables::{NoteLine, Tables},
};

/// Units of time that a note lives: 52 to 60 s. A host gives up a datagram after 15 to 60 s (RFC 791 §3.2, RFC 8200 §4.5).
const LIFE: u16 = 7;
/// A datagram has at most so many bytes (RFC 791 §3.1).
const LARGEST: usize = 65_535;

const _: () = assert!(SCOPES <= 1 << 8 && INSTANCES <= 1 << 12 && FRAGMENT_LINES.is_power_of_two());

/// The time of a note: modulo 2¹² units, 9 h 46 min.
#[inline(always)]
pub const fn time(now: u64) -> u16 {
    (now >> 33) as u16 & 0xfff
}

/// One word of the table; 0 is a free slot, since nobody has instance number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note(pub u64);

impl Note {
    #[inline(always)]
    const fn new(hash: u64, time: u16, scope: u16, instance: u16) -> Self {
        Self(hash >> 32 << 32 | (time as u64) << 20 | (scope as u64 & 0xff) << 12 | instance as u64 & 0xfff)
    }

    /// Where the datagram is counted.
    #[inline(always)]
    pub const fn scope(self) -> u16 {
        (self.0 >> 12 & 0xff) as u16
    }

    /// Who has the datagram.
    #[inline(always)]
    pub const fn instance(self) -> u16 {
        (self.0 & 0xfff) as u16
    }

    #[inline(always)]
    const fn has_tag(self, hash: u64) -> bool {
        self.0 >> 32 == hash >> 32
    }

    /// Units since it was made, and one: where two CPUs read the clock around a step, a note may be of the next unit.
    #[inline(always)]
    const fn age(self, time: u16) -> u16 {
        (time + 1).wrapping_sub((self.0 >> 20) as u16) & 0xfff
    }

    #[inline(always)]
    const fn is_expired(self, time: u16) -> bool {
        self.instance() == 0 || self.age(time) > LIFE
    }
}

/// Whether a packet is whole, or a fragment that this VIP takes and that can be part of a datagram. What is refused besides
/// lengths that cannot be is a first fragment without its transport header, a second one that would overwrite a TCP header's
/// flags (RFC 1858, RFC 3128), and ICMP, of which nothing that is answered or followed here is so large.
#[inline(always)]
pub fn check(vip: &Vip, packet: &Packet) -> Result<(), Reason> {
    const TCP: u8 = IpProto::Tcp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    let part = packet.part;
    if part.is_whole() {
        return Ok(());
    }
    if vip.flags & VIP_FRAGMENTS == 0 || matches!(packet.protocol, ICMP | ICMPV6) {
        return Err(Reason::Fragment);
    }
    if packet.payload >= packet.end {
        return Err(Reason::BadLength);
    }
    let bytes = packet.end - packet.payload;
    let transport = if packet.protocol == TCP { size_of::<Tcp>() } else { size_of::<Udp>() };
    let is_tiny = !part.is_later() && bytes < transport;
    let is_odd = part.field & MORE_FRAGMENTS != 0 && bytes & 7 != 0;
    if is_tiny || is_odd || part.offset() + bytes > LARGEST || part.offset() == 8 && packet.protocol == TCP {
        return Err(Reason::BadLength);
    }
    Ok(())
}

/// Notes to whom a datagram's first fragment goes. A datagram with the identification of an earlier one takes its place.
#[inline(always)]
pub fn note<T: Tables>(tables: &T, block: &Block, vip: &Vip, packet: &Packet, scope: u16, instance: u16) {
    let hash = hash(block, vip, packet);
    if let Some(line) = tables.fragments(hash as u32 & (FRAGMENT_LINES - 1)) {
        put(line, hash, time(tables.now()), scope, instance);
    }
}

/// The note of a later fragment's datagram, and a hash of the datagram.
#[inline(always)]
pub fn follow<T: Tables>(
    tables: &T,
    block: &Block,
    vip: &Vip,
    packet: &Packet,
) -> Result<(Note, u64), Reason> {
    // The first fragment's sender was asked the same; but tags are short, and this has to hold for every packet (R14).
    if !admit::may_reach(block, vip.sources, packet.source) {
        return Err(Reason::Source);
    }
    let hash = hash(block, vip, packet);
    let line = tables.fragments(hash as u32 & (FRAGMENT_LINES - 1));
    match line.and_then(|line| get(line, hash, time(tables.now()))) {
        Some(note) => Ok((note, hash)),
        None => Err(Reason::FragmentEarly),
    }
}

/// The VIP enters by its salt; and by this node's own, so that nobody can aim at a line.
#[inline(always)]
fn hash(block: &Block, vip: &Vip, packet: &Packet) -> u64 {
    // RFC 8200 §4.5: the fragments of a datagram may differ in the next header.
    let protocol = if vip.address.hi == V4 { packet.protocol } else { 0 };
    let datagram = Flow { source: packet.source, ports: packet.part.id, protocol };
    mix(datagram.hash(vip.salt ^ block.config.note_salt, FIVE_TUPLE))
}

#[inline(always)]
pub(crate) fn get(line: &NoteLine, hash: u64, time: u16) -> Option<Note> {
    for slot in line {
        let note = Note(slot.load());
        if note.has_tag(hash) && !note.is_expired(time) {
            return Some(note);
        }
    }
    None
}

/// In the slot of its tag, else in one that is free or expired, else in the place of the older of two.
#[inline(always)]
pub(crate) fn put(line: &NoteLine, hash: u64, time: u16, scope: u16, instance: u16) {
    let word = Note::new(hash, time, scope, instance).0;
    for slot in line {
        if Note(slot.load()).has_tag(hash) {
            return slot.store(word);
        }
    }
    for slot in line {
        if Note(slot.load()).is_expired(time) {
            return slot.store(word);
        }
    }
    const MASK: usize = NOTES - 1;
    let place = (hash >> 16) as usize & MASK;
    let (one, other) = (&line[place], &line[(place + 1) & MASK]);
    let is_older = Note(one.load()).age(time) >= Note(other.load()).age(time);
    if is_older { one.store(word) } else { other.store(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: u64 = 0x1234_5678_9abc_def0;

    fn found(line: &NoteLine, hash: u64, time: u16) -> Option<(u16, u16)> {
        get(line, hash, time).map(|note| (note.scope(), note.instance()))
    }

    #[test]
    fn a_note_lives_as_long_as_a_host_waits_for_fragments() {
        let line = NoteLine::default();
        assert_eq!(found(&line, HASH, 4_095), None);
        put(&line, HASH, 4_095, 255, 4_095);
        assert_eq!(found(&line, HASH, 4_095), Some((255, 4_095)));
        assert_eq!(found(&line, HASH, 5), Some((255, 4_095)), "the time wraps");
        assert_eq!(found(&line, HASH, 6), None);
        assert_eq!(found(&line, HASH ^ 1 << 32, 5), None);
    }

    #[test]
    fn an_identification_that_is_used_again_names_the_newer_datagram() {
        let line = NoteLine::default();
        put(&line, HASH ^ 1 << 40, 1, 1, 1);
        put(&line, HASH, 2, 1, 2);
        // The slot in front expires, yet the datagram keeps its own.
        put(&line, HASH, 1 + LIFE, 3, 4);
        assert_eq!(found(&line, HASH, 1 + LIFE), Some((3, 4)));
        assert_eq!(line.iter().filter(|slot| Note(slot.load()).has_tag(HASH)).count(), 1);
    }

    #[test]
    fn a_full_line_loses_the_older_of_two_notes() {
        let line = NoteLine::default();
        for n in 0..8u16 {
            put(&line, HASH ^ u64::from(n) << 40, 10 + n % 2, 1, 1 + n);
        }
        put(&line, HASH ^ 8 << 40, 12, 1, 9);
        assert_eq!(found(&line, HASH ^ 8 << 40, 12), Some((1, 9)));
        let lost: Vec<_> = (0..8u64).filter(|n| found(&line, HASH ^ n << 40, 12).is_none()).collect();
        assert!(matches!(lost[..], [n] if n % 2 == 0), "the older ones have even numbers: {lost:?}");
    }
}
