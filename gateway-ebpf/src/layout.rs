//! What the maps hold, shared by kernel and control plane: integers only, explicit padding, sizes asserted.

use crate::{
    address::Address,
    snat::layout::{PORT_BLOCKS, SNAT_VIPS},
};

/// Slots of a perfect hash table; `hash >> 52` indexes it.
pub const SLOTS: u32 = 4096;
/// Things that are counted apart: each VIP by itself, and each service on it. Number 0 is traffic of no VIP.
pub const SCOPES: u32 = 256;
/// Drop counters of one scope; [`crate::reason::Reason`] indexes them.
pub const REASONS: u32 = 64;
/// Instance numbers; 0 is nobody, and a number must fit the 15 bits of [`Bucket::previous`].
pub const INSTANCES: u32 = 4096;
/// Interfaces that the program may be attached to; a power of two.
pub const INTERFACES: u32 = 16;
/// Buckets of the ring: the Maglev paper's small prime.
pub const BUCKETS: usize = 65_537;
/// The ring's words: one more than the buckets, so that a bound on the index which the verifier takes as inclusive will do.
pub const RING_WORDS: usize = BUCKETS + 1;
/// Lines of the transition table, a power of two.
pub const NOTE_LINES: u32 = 1 << 16;
/// Lines of the table of fragmented datagrams, a power of two.
pub const FRAGMENT_LINES: u32 = 1 << 12;
/// Notes in a line: 64 bytes, one cache line.
pub const NOTES: usize = 8;
/// Ports of this host that connections through the data path come from, the first of them; a power of two. Above those that
/// Linux gives away by itself (32768 to 60999).
pub const PROBE_PORT: u16 = 0xf000;
/// How many such ports there are, from the first to the last port of all.
pub const PROBES: u32 = 1 << 12;
/// Sets of source prefixes; number 0 is everyone.
pub const SOURCE_SETS: u32 = 16;
/// Ends of ranges in a source set, a power of two.
pub const BOUNDS: usize = 256;

/// The one value of the map `TABLES`, which user space maps into its memory: two sets of tables, of which packets go by one.
/// User space writes the other one, and then the word that says which holds. So a packet, or whoever looks after user space was
/// killed, finds old or new tables and never a mixture.
#[repr(C)]
#[derive(Debug)]
pub struct Blocks {
    /// [`LAYOUT`] of who made the map. It stays first, whatever becomes of the rest.
    pub layout: u64,
    /// Which block holds: 0 or 1.
    pub active: u64,
    /// See [`Self::active`].
    pub blocks: [Block; 2],
}

impl Blocks {
    /// The tables that packets go by now. They are not written before every packet that found them is gone.
    #[inline(always)]
    pub fn active(&self) -> &Block {
        // SAFETY: from a reference. Volatile, because user space may store to the word meanwhile: it is loaded once.
        let active = unsafe { (&raw const self.active).read_volatile() };
        &self.blocks[(active & 1) as usize]
    }
}

/// Everything that the control plane decided: found once a packet, then read by offset. A map for each table meant seven
/// look-ups and 2 ns more a packet, and a system call for each change.
#[repr(C)]
#[derive(Debug)]
pub struct Block {
    /// What the whole program needs.
    pub config: Config,
    /// By [`Interface::slot`].
    pub interfaces: [Interface; INTERFACES as usize],
    /// By [`Address::slot`].
    pub vips: [Vip; SLOTS as usize],
    /// By [`slot`] of [`Service::key`].
    pub services: [Service; SLOTS as usize],
    /// By number, and [`family`] of the packet that is to get there.
    pub instances: [[Instance; 2]; INSTANCES as usize],
    /// By [`Address::slot`]: whose packets are looked at though they are not for a VIP. On a balancer in nat mode the
    /// instances, whose replies get the VIP's address back; on an instance the balancers, whose packets are unwrapped.
    pub peers: [Address; SLOTS as usize],
    /// By [`slot`] of [`Reply::key`]; nat mode.
    pub replies: [Reply; SLOTS as usize],
    /// By [`slot`] of [`Hop::id`]; on an instance.
    pub hops: [Hop; SLOTS as usize],
    /// By number of the set.
    pub sources: [SourceSet; SOURCE_SETS as usize],
    /// By bucket: the words of [`Bucket`].
    pub ring: [u32; RING_WORDS],
    /// By bucket: who else may have flows of a moved bucket.
    pub windows: [Window; RING_WORDS],
    /// By [`Vip::leases`] less one, and by block of ports (`port >> 3`): the instance whose flows leave by these, 0: nobody's.
    pub leases: [[u16; PORT_BLOCKS]; SNAT_VIPS],
    /// How often tables were written: the block that holds has one more than the other.
    pub sequence: u64,
    /// Bytes of `saved` that are used.
    pub saved_bytes: u64,
    /// What user space has to know to go on with these tables, in a form of its own: written with them, so it never differs.
    pub saved: [u8; SAVED],
}

/// Bytes of a block: a power of two, so that the second one is found without a multiplication.
const BLOCK: usize = 4 << 20;
/// Bytes of [`Block::saved`]: what is left.
pub const SAVED: usize = BLOCK
    - size_of::<Config>()
    - INTERFACES as usize * size_of::<Interface>()
    - SLOTS as usize
        * (size_of::<Vip>()
            + size_of::<Service>()
            + size_of::<Address>()
            + size_of::<Reply>()
            + size_of::<Hop>())
    - INSTANCES as usize * 2 * size_of::<Instance>()
    - SOURCE_SETS as usize * size_of::<SourceSet>()
    - RING_WORDS * (size_of::<u32>() + size_of::<Window>())
    - SNAT_VIPS * PORT_BLOCKS * size_of::<u16>()
    - 2 * size_of::<u64>();

/// To be made larger when the maps come to mean something else while their sizes stay.
const VERSION: u64 = 1;
/// Tells maps that a program of this build can go on with: all sizes that it takes for granted, and `VERSION`.
pub const LAYOUT: u64 = {
    let sizes = [
        VERSION,
        size_of::<Blocks>() as u64,
        size_of::<Config>() as u64,
        size_of::<Interface>() as u64,
        size_of::<Vip>() as u64,
        size_of::<Service>() as u64,
        size_of::<Instance>() as u64,
        size_of::<Reply>() as u64,
        size_of::<Hop>() as u64,
        size_of::<Window>() as u64,
        size_of::<SourceSet>() as u64,
        size_of::<Traffic>() as u64,
        SLOTS as u64,
        SCOPES as u64,
        REASONS as u64,
        INSTANCES as u64,
        INTERFACES as u64,
        BUCKETS as u64,
        NOTE_LINES as u64,
        FRAGMENT_LINES as u64,
        NOTES as u64,
        SOURCE_SETS as u64,
        BOUNDS as u64,
        SNAT_VIPS as u64,
    ];
    // FNV-1a, word by word.
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < sizes.len() {
        hash = (hash ^ sizes[at]).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
};

/// What the whole program needs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    /// [`Address::slot`]'s multiplier for the VIPs.
    pub vip_multiplier: u64,
    /// [`slot`]'s multiplier for the services.
    pub service_multiplier: u64,
    /// [`Address::slot`]'s multiplier for the peers.
    pub peer_multiplier: u64,
    /// [`slot`]'s multiplier for the replies.
    pub reply_multiplier: u64,
    /// [`slot`]'s multiplier for the hops.
    pub hop_multiplier: u64,
    /// [`Interface::slot`]'s multiplier.
    pub interface_multiplier: u32,
    /// Of the ring: grows with each change of an owner, on every balancer alike (the time of the change, Unix seconds).
    pub generation: u32,
    /// This node's own salt of the transition table, so that nobody can aim at its lines.
    pub note_salt: u64,
    /// Which of a flow's ports and protocol choose its bucket: [`crate::address::Flow::hash`]'s mask.
    pub affinity: u64,
    /// The mask that flows of old were spread by, until the window of a switch closes; else as `affinity`.
    pub affinity_before: u64,
    /// [`FLAG_NAT`], [`FLAG_HOPS`]
    pub flags: u64,
    /// Always 1, which the verifier does not know: a product with it is any number to it, so that ways which only differ in
    /// an offset become one.
    pub one: u64,
}

/// [`Config::flags`]: peers' replies get their VIP's address back.
pub const FLAG_NAT: u64 = 1;
/// [`Config::flags`]: what is sent to a moved bucket's instance names the other owners ([`crate::hops`]).
pub const FLAG_HOPS: u64 = 2;

/// An interface that the program is attached to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interface {
    /// The kernel's index; an empty slot has 0.
    pub index: u32,
    /// Its MAC's first four bytes, as they lie in memory.
    pub mac: u32,
    /// The other two.
    pub mac_rest: u16,
    /// [`SIDE_INSIDE`], [`SIDE_OUTSIDE`] or both.
    pub sides: u16,
    /// Its place in the device map.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// Where the operator's networks are.
pub const SIDE_INSIDE: u16 = 1;
/// Where everyone is.
pub const SIDE_OUTSIDE: u16 = 2;

impl Interface {
    /// Where an interface stands, given the multiplier that the control plane chose.
    #[inline(always)]
    pub const fn slot(index: u32, multiplier: u32) -> u32 {
        index.wrapping_mul(multiplier) >> 28
    }
}

impl Block {
    /// Whether packets of this source are looked at though they are for no VIP. An empty slot has `::`, which is nobody's.
    #[inline(always)]
    pub fn is_peer(&self, source: Address) -> bool {
        let slot = source.slot(self.config.peer_multiplier) & (SLOTS - 1);
        self.peers[slot as usize] == source && source != Address::v6(0, 0)
    }
}

/// The slot of a perfect hash table of 4,096 slots, given the multiplier that the control plane chose for it.
#[inline(always)]
pub const fn slot(key: u64, multiplier: u64) -> u32 {
    (key.wrapping_mul(multiplier) >> 52) as u32
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
    /// From which sides it can be reached: [`SIDE_INSIDE`], [`SIDE_OUTSIDE`].
    pub sides: u16,
    /// [`VIP_ECHO`], [`VIP_FRAGMENTS`], [`VIP_TUNNEL`]
    pub flags: u8,
    /// Place in [`Block::leases`], plus 1; 0: no flows of instances leave by it.
    pub leases: u8,
}

/// [`Vip::flags`]: echo requests are answered.
pub const VIP_ECHO: u8 = 1;
/// [`Vip::flags`]: fragments are kept together.
pub const VIP_FRAGMENTS: u8 = 2;
/// [`Vip::flags`]: it is none, but an address of this instance, at which the balancers' tunnels end.
pub const VIP_TUNNEL: u8 = 4;

/// A service of a VIP, in the slot of its key.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// [`Service::key`]; an empty slot has 0.
    pub key: u64,
    /// Where its traffic and drops are counted.
    pub scope: u16,
    /// Who may reach it, beside [`Vip::sources`]; 0: everyone.
    pub sources: u16,
    /// Its port on the instances in nat mode.
    pub backend_port: u16,
    /// [`SERVICE_NOTED`]
    pub flags: u16,
}

/// [`Service::flags`]: its UDP flows stay with their instance while a bucket moves.
pub const SERVICE_NOTED: u16 = 1;

impl Service {
    /// Never 0: no VIP has scope 0.
    #[inline(always)]
    pub const fn key(vip_scope: u16, protocol: u8, port: u16) -> u64 {
        (vip_scope as u64) << 24 | (protocol as u64) << 16 | port as u64
    }
}

/// How an instance is reached by packets of one family: one cache line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instance {
    /// Finished Ethernet addresses, the next hop's and ours, in memory order.
    pub macs: [u32; 3],
    /// [`WAY_NONE`], [`WAY_LINK`] and so on.
    pub way: u16,
    /// The interface that leads there: [`Interface::port`].
    pub port: u16,
    /// Its own address: the outer destination, or in nat mode the new one.
    pub address: Address,
    /// Ours: the outer source.
    pub source: Address,
    /// What two of the outer header's fields and lengths do not change: an unfolded sum of 16-bit words in network order.
    /// Over IPv4 the header's (with DF, without type of service and total length); over IPv6 the UDP pseudo-header's
    /// (without length).
    pub sum: u32,
    /// The largest IP packet that fits before anything is put around it.
    pub mtu: u16,
    /// [`STATE_LIVE`], [`STATE_GONE`]
    pub state: u16,
    /// What it is called in a list of hops: [`Hop::id`].
    pub id: u32,
    /// Zero.
    pub pad: u32,
}

/// Not known: its packets are dropped.
pub const WAY_NONE: u16 = 0;
/// Other MACs, and out.
pub const WAY_LINK: u16 = 1;
/// It is this host: up the stack.
pub const WAY_LOCAL: u16 = 2;
/// IP in IP (RFC 2003, RFC 2473, RFC 4213) over IPv4.
pub const WAY_IPIP4: u16 = 3;
/// IP in IP over IPv6.
pub const WAY_IPIP6: u16 = 4;
/// Generic UDP encapsulation, variant 0, over IPv4.
pub const WAY_GUE4: u16 = 5;
/// Generic UDP encapsulation over IPv6.
pub const WAY_GUE6: u16 = 6;
/// Another destination address and port.
pub const WAY_NAT: u16 = 7;

/// [`Instance::state`]: it has its flows.
pub const STATE_LIVE: u16 = 0;
/// Nobody answers at its address, and its flows are to be reset.
pub const STATE_GONE: u16 = 1;

/// On an instance: its own number, under which is counted what it unwraps.
pub const SELF: u16 = 1;

/// Index of [`Block::instances`] for packets with addresses like this one.
#[inline(always)]
pub const fn family(is_v4: bool) -> usize {
    !is_v4 as usize
}

/// A port of the instances in nat mode, and what its replies come from in the clients' eyes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// [`Reply::key`]; an empty slot has 0.
    pub key: u64,
    /// The VIP.
    pub vip: Address,
    /// The service's port.
    pub port: u16,
    /// The service's scope.
    pub scope: u16,
    /// Zero.
    pub pad: u32,
}

impl Reply {
    /// Never 0: no protocol that has ports has number 0.
    #[inline(always)]
    pub const fn key(is_v4: bool, protocol: u8, backend_port: u16) -> u64 {
        (is_v4 as u64) << 24 | (protocol as u64) << 16 | backend_port as u64
    }
}

/// Another instance, as a packet's list of hops names it, and how it is reached.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop {
    /// Its address of the family that its balancers reach it by.
    pub address: Address,
    /// Finished Ethernet addresses, as [`Instance::macs`].
    pub macs: [u32; 3],
    /// Made from its name and the seed, so that all hosts agree without asking; never 0.
    pub id: u32,
    /// The interface that leads there: [`Interface::port`].
    pub port: u16,
    /// Zero.
    pub pad: [u16; 3],
}

/// A connection of this host to a VIP at one instance ([`crate::probe`]), in the slot of its own port less [`PROBE_PORT`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probe {
    /// This host's address.
    pub source: Address,
    /// The instance's, to which the socket is connected.
    pub dip: Address,
    /// What it stands for.
    pub vip: Address,
    /// This host's port; an empty slot has 0.
    pub source_port: u16,
    /// The service's.
    pub port: u16,
    /// The instance's number.
    pub instance: u16,
    /// Zero.
    pub pad: u16,
}

/// All owners that a moved bucket has had since its window opened, `previous` and `current` among them; 0: none.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Instance numbers, the first four: 16 bits each, the lowest first. The oldest owner is the first.
    pub first: u64,
    /// The next four.
    pub second: u64,
}

impl Window {
    /// An owner; 0: none.
    #[inline(always)]
    pub const fn owner(self, place: usize) -> u16 {
        let word = if place < OWNERS / 2 { self.first } else { self.second };
        (word >> (16 * (place & 3))) as u16
    }
}

/// Owners of a window at most.
pub const OWNERS: usize = 8;

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

/// Of each scope, reason and CPU the first drop is shown to user space, and then one in so many; a power of two.
pub const SAMPLE_EVERY: u64 = 1024;
/// Bytes of a frame that are shown, a power of two: two tags and any headers that are looked at.
pub const SAMPLE_BYTES: usize = 128;
/// Bytes of the ring buffer: some 1,600 drops.
pub const SAMPLES_BYTES: u32 = 256 * 1024;

/// A dropped packet.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// All but the packet.
    pub about: About,
    /// The frame's beginning, of which [`About::captured`] bytes are there.
    pub headers: [u8; SAMPLE_BYTES],
}

/// When, where and why a packet was dropped.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct About {
    /// Nanoseconds of the monotonic clock, to some milliseconds.
    pub time: u64,
    /// The kernel's index of the interface that it came by.
    pub interface: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// Bytes of it that are shown.
    pub captured: u32,
    /// Where it was counted.
    pub scope: u16,
    /// [`crate::reason::Reason`]
    pub reason: u8,
    /// Zero.
    pub pad: u8,
}

const _: () = assert!(size_of::<Sample>() == 24 + SAMPLE_BYTES && SAMPLE_EVERY.is_power_of_two());
const _: () = assert!(size_of::<Address>() == 16);
const _: () = assert!(size_of::<Config>() == 88);
const _: () = assert!(size_of::<Interface>() == 16);
const _: () = assert!(size_of::<Vip>() == 32);
const _: () = assert!(size_of::<Service>() == 16);
const _: () = assert!(size_of::<Instance>() == 64);
const _: () = assert!(size_of::<Reply>() == 32);
const _: () = assert!(size_of::<Hop>() == 40);
const _: () = assert!(size_of::<Probe>() == 56 && PROBE_PORT as u32 + PROBES == 1 << 16);
const _: () = assert!(size_of::<Window>() == 2 * OWNERS);
const _: () = assert!(size_of::<SourceSet>() == BOUNDS * 24 + 16);
const _: () = assert!(size_of::<Traffic>() == 24);
// No padding: the parts that `SAVED` is made from are all there is.
const _: () = assert!(size_of::<Block>() == BLOCK && size_of::<Blocks>() == 2 * BLOCK + 16);
const _: () = assert!(SAVED > 1 << 20);
const _: () = assert!(SOURCE_SETS.is_power_of_two() && INTERFACES == 1 << 4);
const _: () = assert!(BOUNDS.is_power_of_two() && NOTE_LINES.is_power_of_two() && INSTANCES < 1 << 15);

#[cfg(not(target_arch = "bpf"))]
// SAFETY: repr(C), integers only, no padding (the size is asserted above).
unsafe impl aya::Pod for Traffic {}
#[cfg(not(target_arch = "bpf"))]
// SAFETY: as above.
unsafe impl aya::Pod for Probe {}
