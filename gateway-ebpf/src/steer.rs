//! From a flow to its instance: Maglev buckets, and the transition table where a bucket changed hands.

use network_types::ip::IpProto;

use crate::{
    address::{self, Flow},
    admit::Admitted,
    layout::{BUCKETS, Block, Bucket, FLAG_HOPS, INSTANCES, NOTE_LINES, SERVICE_NOTED, STATE_GONE},
    note::{self, Answer, Owners, Seen, Settled},
    parse::Stop,
    reason::Reason,
    step::Step,
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
    /// The bucket whose other owners are asked too if the instance does not know the flow; [`NO_BUCKET`]: nobody is.
    pub bucket: u32,
    /// As `bucket`, by the affinity before a switch; else the same.
    pub bucket_before: u32,
    /// How a packet of a moved bucket was settled, to be counted once it is forwarded: the fast program may still leave it to
    /// the slow one.
    pub settled: Option<Settled>,
}

/// [`Steered::bucket`]: none.
pub const NO_BUCKET: u32 = u32::MAX;

/// Finds a flow's instance. In the fast program (`!FULL`) a moved bucket's packet may be [`Stop::Slow`]: nothing has been
/// done then that the slow program would do again.
#[inline(always)]
pub fn steer<T: Tables, const FULL: bool>(
    tables: &T,
    block: &Block,
    salt: u64,
    admitted: &Admitted,
    family: usize,
) -> Result<Steered, Stop> {
    let hash = admitted.flow.hash(salt, block.config.affinity);
    if admitted.owner != 0 {
        crate::rare();
        let instance = admitted.owner;
        return Ok(Steered { instance, hash, bucket: NO_BUCKET, bucket_before: NO_BUCKET, settled: None });
    }
    let number = bucket_of(hash);
    let bucket = bucket(block, number)?;
    tables.tell(|| Step::Bucket { number, bucket });
    let steered = Steered {
        instance: bucket.current(),
        hash,
        bucket: NO_BUCKET,
        bucket_before: NO_BUCKET,
        settled: None,
    };
    if !bucket.is_moved() {
        return if steered.instance == 0 { Err(Stop::Drop(Reason::NoInstance)) } else { Ok(steered) };
    }
    crate::rare();
    in_window::<_, FULL>(tables, block, salt, admitted, Window { family, steered, number, bucket })
}

/// What is known of a moved bucket.
#[derive(Clone, Copy)]
struct Window {
    family: usize,
    steered: Steered,
    number: u32,
    bucket: Bucket,
}

#[inline(always)]
fn in_window<T: Tables, const FULL: bool>(
    tables: &T,
    block: &Block,
    salt: u64,
    admitted: &Admitted,
    window: Window,
) -> Result<Steered, Stop> {
    let Admitted { flags, flow, segment, .. } = admitted;
    let Window { family, steered, number, bucket } = window;
    let current = bucket.current();
    let is_udp = flow.protocol == IpProto::Udp as u8;
    if is_udp && flags & SERVICE_NOTED == 0 {
        let settled = Some(Settled::Current);
        tables.tell(|| Step::Settled { previous: bucket.previous(), how: Settled::Current });
        return if current == 0 {
            Err(Stop::Drop(Reason::NoInstance))
        } else {
            Ok(Steered { settled, ..steered })
        };
    }
    // A SYN asks nobody: it begins at one instance. Of UDP no instance can tell whether a flow is its own.
    let is_asked = block.config.flags & FLAG_HOPS != 0 && !is_udp && !matches!(segment, Segment::Syn { .. });
    if !FULL && is_asked {
        return Err(Stop::Slow);
    }
    let (before, previous) = before(block, salt, flow, number, bucket)?;
    let owners = Owners { previous, current };
    // Salted by this node alone: who knows the ring's seed still cannot aim at a line. It waits for nothing that the bucket's
    // word has to be loaded for, so it costs no time of its own.
    let hash = address::mix(flow.hash(salt ^ block.config.note_salt, address::FIVE_TUPLE));
    let hash = note::in_bucket(hash, before);
    let line = tables.notes(hash as u32 & (NOTE_LINES - 1)).ok_or(Stop::Drop(Reason::NoInstance))?;
    let is_gone = |instance: u16| {
        let entry = &block.instances[(u32::from(instance) & (INSTANCES - 1)) as usize][family];
        entry.state == STATE_GONE
    };
    // The slow program alone changes a note that names a gone instance: the fast one leaves all of it.
    let seen = Seen { line, hash, now: || tables.now(), is_gone: |instance| FULL && is_gone(instance) };
    let Answer(mut instance, mut settled) = match *segment {
        Segment::Syn { sequence } => note::syn(&seen, sequence, owners),
        Segment::Tcp { sequence, proves } => note::segment(&seen, sequence, proves, previous),
        Segment::Datagram => note::datagram(&seen, owners),
        Segment::Quote => note::quote(&seen, previous),
    };
    if instance == 0 {
        return Err(Stop::Drop(Reason::NoInstance));
    }
    if is_gone(instance) {
        if !FULL {
            return Err(Stop::Slow);
        }
        settled = Settled::Gone;
        if !is_asked || previous == instance {
            tables.tell(|| Step::Settled { previous, how: settled });
            tables.count_settled(settled);
            return Err(Stop::Drop(Reason::Gone));
        }
        // The note may be of an older flow of this tuple: whose it is now, the others know.
        instance = previous;
    }
    tables.tell(|| Step::Settled { previous, how: settled });
    let (bucket, bucket_before) = if is_asked { (number, before) } else { (NO_BUCKET, NO_BUCKET) };
    Ok(Steered { instance, hash: steered.hash, bucket, bucket_before, settled: Some(settled) })
}

/// The bucket by which a flow began that is not noted, and its owner then. While an affinity is switched (R80) that is the one by
/// the old mask; all buckets are marked as moved then, so that packets outside windows need not look.
#[inline(always)]
fn before(block: &Block, salt: u64, flow: &Flow, number: u32, now: Bucket) -> Result<(u32, u16), Stop> {
    if block.config.affinity == block.config.affinity_before {
        return Ok((number, now.previous()));
    }
    let number = bucket_of(flow.hash(salt, block.config.affinity_before));
    let bucket = bucket(block, number)?;
    Ok((number, if bucket.is_moved() { bucket.previous() } else { bucket.current() }))
}

#[inline(always)]
fn bucket(block: &Block, bucket: u32) -> Result<Bucket, Stop> {
    let word: *const u32 = block.ring.get(bucket as usize).ok_or(Stop::Drop(Reason::NoInstance))?;
    // SAFETY: from a reference. Volatile, because user space may store to the word meanwhile: it is loaded once.
    Ok(Bucket(unsafe { word.read_volatile() }))
}
