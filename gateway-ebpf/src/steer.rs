//! From a flow to its instance: Maglev buckets, and the transition table where a bucket changed hands.

use crate::{
    address::{self, Flow},
    layout::{BUCKETS, Block, Bucket, NOTE_LINES, RINGS},
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

/// The instance that has, or gets, this flow; 0 or `None`: nobody is in service.
#[inline(always)]
pub fn steer<T: Tables>(
    tables: &T,
    block: &Block,
    ring: u16,
    salt: u64,
    flow: &Flow,
    segment: Segment,
) -> Option<u16> {
    let bucket = bucket(block, ring, bucket_of(flow.hash(salt)))?;
    if !bucket.is_moved() {
        return Some(bucket.current());
    }
    let current = bucket.current();
    let previous = bucket.previous();
    if let Segment::Datagram = segment {
        return Some(current);
    }
    // Salted by this node alone: who knows the ring's seed still cannot aim at a line.
    let hash = address::mix(flow.hash(salt ^ block.config.note_salt));
    let line = tables.notes(hash as u32 & (NOTE_LINES - 1))?;
    let epoch = tables.epoch();
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
fn bucket(block: &Block, ring: u16, bucket: u32) -> Option<Bucket> {
    let word: *const u32 = block.rings[(u32::from(ring) & (RINGS - 1)) as usize].get(bucket as usize)?;
    // SAFETY: from a reference. Volatile, because user space may store to the word meanwhile: it is loaded once.
    Some(Bucket(unsafe { word.read_volatile() }))
}
