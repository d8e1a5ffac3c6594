//! From a flow to its instance: Maglev buckets, and the transition table where a bucket changed hands.

use crate::{
    address::{self, Flow},
    layout::{BUCKETS, Block, Bucket, NOTE_LINES},
    note::{self, Syn},
    tables::Tables,
};

/// What a packet tells about where its flow is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// TCP's first: SYN, and neither ACK nor RST nor FIN.
    Syn {
        /// The client's initial sequence number.
        sequence: u32,
    },
    /// Any other TCP segment.
    Tcp {
        /// Its sequence number.
        sequence: u32,
        /// It carries ACK and neither RST nor FIN: what an established flow sends.
        proves: bool,
    },
    /// UDP shows no beginning.
    Datagram,
    /// An ICMP error that quotes the flow.
    Quote,
}

impl Segment {
    /// 1 for the beginning of a TCP connection, else 0.
    #[inline(always)]
    pub const fn syns(self) -> u64 {
        matches!(self, Self::Syn { .. }) as u64
    }
}

/// The bucket of a flow's hash: multiply-shift of its high bits, as even as a modulo and without the division.
#[inline(always)]
pub const fn bucket_of(hash: u64) -> u32 {
    (((hash >> 32) * BUCKETS as u64) >> 32) as u32
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steered {
    /// The instance that has, or gets, this flow; 0: nobody is in service.
    pub instance: u16,
    /// Of the flow: the same for all of its packets.
    pub hash: u64,
    /// The bucket is in a window.
    pub moved: bool,
}

/// Finds a flow's instance; `None`: the tables are not there.
#[inline(always)]
pub fn steer<T: Tables>(
    tables: &T,
    block: &Block,
    salt: u64,
    flow: &Flow,
    segment: Segment,
) -> Option<Steered> {
    let hash = flow.hash(salt, block.config.affinity);
    let bucket = bucket(block, bucket_of(hash))?;
    if !bucket.is_moved() {
        return Some(Steered { instance: bucket.current(), hash, moved: false });
    }
    crate::rare();
    let instance = in_window(tables, block, salt, flow, segment, bucket)?;
    Some(Steered { instance, hash, moved: true })
}

#[inline(always)]
fn in_window<T: Tables>(
    tables: &T,
    block: &Block,
    salt: u64,
    flow: &Flow,
    segment: Segment,
    bucket: Bucket,
) -> Option<u16> {
    let current = bucket.current();
    let previous = bucket.previous();
    if let Segment::Datagram = segment {
        return Some(current);
    }
    // Salted by this node alone: who knows the ring's seed still cannot aim at a line.
    let hash = address::mix(flow.hash(salt ^ block.config.note_salt, address::FIVE_TUPLE));
    let line = tables.notes(hash as u32 & (NOTE_LINES - 1))?;
    let epoch = note::epoch(tables.now());
    Some(match segment {
        Segment::Syn { sequence } => match note::syn(line, hash, sequence, epoch, current) {
            Syn::Noted(instance) => instance,
            Syn::Claimed => current,
            Syn::Refused => previous,
        },
        Segment::Tcp { sequence, proves } => note::segment(line, hash, sequence, epoch, proves, previous),
        Segment::Datagram | Segment::Quote => note::trusted(line, hash, epoch).unwrap_or(previous),
    })
}

#[inline(always)]
fn bucket(block: &Block, bucket: u32) -> Option<Bucket> {
    let word: *const u32 = block.ring.get(bucket as usize)?;
    // SAFETY: from a reference. Volatile, because user space may store to the word meanwhile: it is loaded once.
    Some(Bucket(unsafe { word.read_volatile() }))
}
