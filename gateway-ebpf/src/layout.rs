//! What the maps hold, shared by kernel and control plane: integers only, explicit padding, sizes asserted.

use crate::address::Address;

/// Slots of the two perfect hash tables; `hash >> 52` indexes them.
pub const SLOTS: u32 = 4096;
/// Things that are counted apart: each VIP by itself, and each service on it. Number 0 is traffic of no VIP.
pub const SCOPES: u32 = 256;
/// Drop counters of one scope; [`crate::reason::Reason`] indexes them.
pub const REASONS: u32 = 64;
/// Instance numbers; 0 is nobody, and a number must fit the 15 bits of [`Bucket::previous`].
pub const INSTANCES: u32 = 4096;
/// Rings: one for each set of instances that share their weights.
pub const RINGS: u32 = 8;
/// Buckets of a ring: the Maglev paper's small prime.
pub const BUCKETS: usize = 65_537;
/// A ring's words: one more than the buckets, so that a bound on the index which the verifier takes as inclusive will do.
pub const RING_WORDS: usize = BUCKETS + 1;
/// Lines of the transition table, a power of two.
pub const NOTE_LINES: u32 = 1 << 16;
/// Notes in a line: 64 bytes, one cache line.
pub const NOTES: usize = 8;
/// Sets of source prefixes; number 0 is everyone.
pub const SOURCE_SETS: u32 = 16;
/// Ends of ranges in a source set, a power of two.
pub const BOUNDS: usize = 256;

/// Everything that the control plane decided, in one map value: found once a packet, then read by offset. A map for each table
/// meant seven look-ups and 2 ns more a packet, and a system call for each change.
///
/// User space maps it into its memory. It is the only writer; the kernel only reads, so each entry is changed in place.
#[repr(C)]
#[derive(Debug)]
pub struct Block {
    /// What the whole program needs.
    pub config: Config,
    /// By [`Address::slot`].
    pub vips: [Vip; SLOTS as usize],
    /// By [`Service::slot`].
    pub services: [Service; SLOTS as usize],
    /// By number.
    pub instances: [Instance; INSTANCES as usize],
    /// By number of the set.
    pub sources: [SourceSet; SOURCE_SETS as usize],
    /// By number of the ring and bucket: the words of [`Bucket`].
    pub rings: [[u32; RING_WORDS]; RINGS as usize],
}

/// What the whole program needs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// [`Address::slot`]'s multiplier for the VIPs.
    pub vip_multiplier: u64,
    /// [`Service::slot`]'s multiplier.
    pub service_multiplier: u64,
    /// This node's own salt of the transition table, so that nobody can aim at its lines.
    pub note_salt: u64,
    /// The interface's MAC, followed by two zero bytes, as they lie in memory.
    pub mac: u64,
}

/// A VIP, in the slot of its address.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vip {
    /// The address; an empty slot has `::`.
    pub address: Address,
    /// Makes flows to this VIP hash apart from flows to others: from its address and the configured seed.
    pub salt: u64,
    /// Where drops are counted that concern no service.
    pub scope: u16,
    /// Who may reach it; 0: everyone.
    pub sources: u16,
    /// Zero.
    pub pad: u32,
}

/// A service of a VIP, in the slot of its key.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// [`Service::key`]; an empty slot has 0.
    pub key: u64,
    /// Where its traffic and drops are counted.
    pub scope: u16,
    /// The ring that spreads it.
    pub ring: u16,
    /// Who may reach it, beside [`Vip::sources`]; 0: everyone.
    pub sources: u16,
    /// Zero.
    pub pad: u16,
}

impl Service {
    /// Never 0: no VIP has scope 0.
    #[inline(always)]
    pub const fn key(vip_scope: u16, protocol: u8, port: u16) -> u64 {
        (vip_scope as u64) << 24 | (protocol as u64) << 16 | port as u64
    }

    /// Where a key stands, given the multiplier that the control plane chose.
    #[inline(always)]
    pub const fn slot(key: u64, multiplier: u64) -> u32 {
        (key.wrapping_mul(multiplier) >> 52) as u32
    }
}

/// How to reach an instance.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instance {
    /// Finished Ethernet addresses, the instance's and ours, in memory order.
    pub macs: [u32; 3],
    /// [`WAY_NONE`], [`WAY_LINK`] or [`WAY_LOCAL`].
    pub way: u32,
}

/// Not known: its packets are dropped.
pub const WAY_NONE: u32 = 0;
/// Out of the interface again, with other MACs.
pub const WAY_LINK: u32 = 1;
/// It is this host: up the stack.
pub const WAY_LOCAL: u32 = 2;

/// Who may come in, as sorted bounds: an address is in the set if the number of bounds at or below it is odd.
/// Prefixes become disjoint half-open ranges; unused bounds are the largest value.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceSet {
    /// Where the search begins: 0. It is loaded and not a constant, so that the verifier takes the place of a search for
    /// unknown: after each step it then finds both branches alike and goes on with one, instead of with 2⁸ constants.
    pub start: u32,
    /// Half of the power of two above the number of IPv4 bounds: the first step of the search.
    pub v4_half: u32,
    /// As `v4_half`, of IPv6 bounds.
    pub v6_half: u32,
    /// Zero.
    pub pad: u32,
    /// IPv4 addresses as numbers; 64 bits wide, so that the end of 255.255.255.255 has a place.
    pub v4: [u64; BOUNDS],
    /// IPv6: the first halves.
    pub v6_hi: [u64; BOUNDS],
    /// IPv6: the second halves.
    pub v6_lo: [u64; BOUNDS],
}

impl Default for SourceSet {
    fn default() -> Self {
        Self {
            start: 0,
            v4_half: 0,
            v6_half: 0,
            pad: 0,
            v4: [u64::MAX; BOUNDS],
            v6_hi: [u64::MAX; BOUNDS],
            v6_lo: [u64::MAX; BOUNDS],
        }
    }
}

/// Per CPU: what went to a service or an instance.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// How many of them began a TCP connection.
    pub syns: u64,
}

/// A bucket of a ring: `moved` 1 bit, `previous` 15, `current` 16, one word, so that it is never half seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket(pub u32);

impl Bucket {
    /// Owned by one instance, for all its flows.
    #[inline(always)]
    pub const fn settled(current: u16) -> Self {
        Self(current as u32)
    }

    /// Changed hands: flows that are not noted began at `previous`.
    #[inline(always)]
    pub const fn moved(previous: u16, current: u16) -> Self {
        Self(1 << 31 | (previous as u32 & 0x7fff) << 16 | current as u32)
    }

    /// The owner changed and the window is open.
    #[inline(always)]
    pub const fn is_moved(self) -> bool {
        self.0 >> 31 != 0
    }

    /// The oldest owner of the window.
    #[inline(always)]
    pub const fn previous(self) -> u16 {
        (self.0 >> 16 & 0x7fff) as u16
    }

    /// The owner, 0: nobody.
    #[inline(always)]
    pub const fn current(self) -> u16 {
        self.0 as u16
    }
}

const _: () = assert!(size_of::<Address>() == 16);
const _: () = assert!(size_of::<Config>() == 32);
const _: () = assert!(size_of::<Vip>() == 32);
const _: () = assert!(size_of::<Service>() == 16);
const _: () = assert!(size_of::<Instance>() == 16);
const _: () = assert!(size_of::<SourceSet>() == BOUNDS * 24 + 16);
const _: () = assert!(size_of::<Traffic>() == 24);
const _: () = assert!(
    size_of::<Block>()
        == 32
            + SLOTS as usize * 48
            + INSTANCES as usize * 16
            + SOURCE_SETS as usize * (BOUNDS * 24 + 16)
            + RINGS as usize * RING_WORDS * 4
);
// The largest value of an array map was KMALLOC_MAX_SIZE before Linux 5.11.
const _: () = assert!(size_of::<Block>() < 4 << 20);
const _: () = assert!(SOURCE_SETS.is_power_of_two() && RINGS.is_power_of_two());
const _: () = assert!(BOUNDS.is_power_of_two() && NOTE_LINES.is_power_of_two() && INSTANCES < 1 << 15);

#[cfg(not(target_arch = "bpf"))]
// SAFETY: repr(C), integers only, no padding (the size is asserted above).
unsafe impl aya::Pod for Traffic {}
