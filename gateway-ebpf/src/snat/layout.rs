//! What the maps of source NAT hold, shared by the instance's programs and its control plane: integers only, no padding.

use crate::{
    address::Address,
    layout::{self, BOUNDS, SourceSet},
};

/// Ports that are leased together: those with the same `port >> 3` (R34).
pub const BLOCK_PORTS: u32 = 8;
/// Blocks of one address.
pub const PORT_BLOCKS: usize = 65_536 / BLOCK_PORTS as usize;
/// Public VIPs that flows can leave by.
pub const SNAT_VIPS: usize = 8;
/// Services, or ports of their own, that an instance has beside SNAT.
pub const SERVED: usize = 32;
/// Flows at a time, and for UDP and ICMP one more for each port in use.
pub const FLOWS: u32 = 1 << 18;
/// Destinations for which there was no port, of which user space is told.
pub const EXHAUSTED: u32 = 256;
/// Lines of the table of datagrams that leave in fragments, a power of two.
pub const FRAGMENT_LINES: u32 = 1 << 8;
/// Counters: [`Count`].
pub const COUNTS: u32 = 16;

/// The one value of the map `SNAT_TABLE`, which user space maps into its memory. Two halves and a flip, as
/// [`layout::Blocks`].
#[repr(C)]
#[derive(Debug)]
pub struct Halves {
    /// [`LAYOUT`] of who made the map.
    pub layout: u64,
    /// Which half holds: 0 or 1.
    pub active: u64,
    /// See [`Self::active`].
    pub tables: [Table; 2],
}

impl Halves {
    /// What packets go by now.
    #[inline(always)]
    pub fn active(&self) -> &Table {
        // SAFETY: from a reference. Volatile, because user space may store to the word meanwhile: it is loaded once.
        let active = unsafe { (&raw const self.active).read_volatile() };
        &self.tables[(active & 1) as usize]
    }
}

/// Everything that the control plane decided about one instance's way out.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The instance's own address of each [`layout::family`]; none: `::`.
    pub dips: [Address; 2],
    /// [`RETURN_TO_DIP`]
    pub flags: u64,
    /// [`vip_slot`]'s multiplier.
    pub vip_multiplier: u64,
    /// Random, of this node: where the search for a port begins.
    pub seed: u64,
    /// Always 1, which the verifier does not know: [`layout::Config::one`].
    pub one: u64,
    /// Idle times in [`Ticks`](tick), by [`Life`].
    pub lives: [u64; 4],
    /// By [`layout::family`], the VIPs that new flows can leave by: how many, in eight bits, and from the ninth on their places, of four
    /// bits each.
    pub choices: [u64; 2],
    /// By [`vip_slot`]: place in `vips`, plus 1; 0: no VIP is there.
    pub by_address: [u64; 2 * SNAT_VIPS],
    /// By place.
    pub vips: [Vip; SNAT_VIPS],
    /// [`port_of`] what is a service's on the VIPs, and no flow's of ours; unused places are 0.
    pub served: [u32; SERVED],
    /// [`port_of`] what the instance's own address serves to clients of a balancer in nat mode; unused places are 0.
    pub backends: [u32; SERVED],
    /// To whom packets keep the DIP (R30).
    pub inside: SourceSet,
}

/// [`Table::flags`]: answers come to the DIP, the port as the flow left with it (a balancer in nat mode). Ports are then taken
/// for all VIPs at once, since the packet does not say to which one it came.
pub const RETURN_TO_DIP: u64 = 1;

/// Index of [`Table::lives`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// TCP that both ends have agreed on, and one that only one of them has ended: 2 h 4 min (RFC 5382 REQ-5).
    Established = 0,
    /// TCP that begins or ends: 4 min (likewise).
    Transitory = 1,
    /// UDP: 5 min (RFC 4787 REQ-5).
    Udp = 2,
    /// ICMP queries: 60 s (RFC 5508 REQ-2).
    Icmp = 3,
}

/// A public VIP, and the ports of it that are leased to this instance.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// The address; an empty place has `::`.
    pub address: Address,
    /// How many of `active` are used.
    pub count: u64,
    /// Blocks that new flows get ports of, in any order.
    pub active: [u16; PORT_BLOCKS],
    /// By block: [`BLOCK_NONE`] and so on.
    pub states: [u8; PORT_BLOCKS],
}

/// Not leased to this instance.
pub const BLOCK_NONE: u8 = 0;
/// Leased.
pub const BLOCK_ACTIVE: u8 = 1;
/// To be given back: its flows go on, and none begins.
pub const BLOCK_DRAINING: u8 = 2;

/// Protocol and port in a word.
#[inline(always)]
pub const fn port_of(protocol: u8, port: u16) -> u32 {
    (protocol as u32) << 16 | port as u32
}

/// Where a VIP stands in [`Table::by_address`], given the multiplier that the control plane chose.
#[inline(always)]
pub const fn vip_slot(address: Address, multiplier: u64) -> usize {
    address.slot(multiplier) as usize & (2 * SNAT_VIPS - 1)
}

/// Time as entries keep it: 2³⁰ ns, 1.07 s.
#[inline(always)]
pub const fn tick(nanoseconds: u64) -> u32 {
    (nanoseconds >> 30) as u32
}

/// Of an entry: peer, and what tells flows with it apart. Three words, so that nothing is between them.
///
/// | map | `rest` has | the entry says |
/// |---|---|---|
/// | `SNAT_FORWARD` | protocol, the peer's port, the instance's port | VIP and port that it leaves by |
/// | `SNAT_FORWARD`, no peer | protocol, the instance's port | VIP and port, whoever the peer is (UDP, ICMP) |
/// | `SNAT_REVERSE` | VIP, protocol, the peer's port, the VIP's port | the instance's port |
/// | `SNAT_REVERSE`, no peer | VIP, protocol, the VIP's port | the instance's port that has it for itself (UDP, ICMP) |
///
/// An ICMP query has its identifier for the own port, and 0 for the peer's.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// The peer's address; where there is none, of the family's form: IPv4 0.0.0.0, or `::`.
    pub peer: Address,
    /// 16 bits of port, 16 of the peer's port, 8 of protocol, 8 of [`Key::vip`].
    pub rest: u64,
}

impl Key {
    /// Of the forward map.
    #[inline(always)]
    pub const fn forward(protocol: u8, port: u16, peer: Address, peer_port: u16) -> Self {
        Self { peer, rest: (protocol as u64) << 32 | (peer_port as u64) << 16 | port as u64 }
    }

    /// Of the reverse map. `vip` is the place in [`Table::vips`], plus 1; 0: whichever ([`RETURN_TO_DIP`]).
    #[inline(always)]
    pub const fn reverse(vip: u8, protocol: u8, port: u16, peer: Address, peer_port: u16) -> Self {
        let Self { peer, rest } = Self::forward(protocol, port, peer, peer_port);
        Self { peer, rest: rest | (vip as u64) << 40 }
    }

    /// As [`crate::parse::Packet::forget`].
    #[inline(always)]
    pub const fn forget(self, one: u64) -> Self {
        let Self { peer, rest } = self;
        let peer = Address { hi: peer.hi.wrapping_mul(one), lo: peer.lo.wrapping_mul(one) };
        Self { peer, rest: rest.wrapping_mul(one) }
    }

    /// The instance's port in the forward map, the VIP's in the reverse one.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        self.rest as u16
    }

    /// The peer's.
    #[inline(always)]
    pub const fn peer_port(self) -> u16 {
        (self.rest >> 16) as u16
    }

    /// IANA's number.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// In the reverse map: place of the VIP, plus 1.
    #[inline(always)]
    pub const fn vip(self) -> u8 {
        (self.rest >> 40) as u8
    }

    /// For any peer.
    #[inline(always)]
    pub const fn is_for_all(self) -> bool {
        self.peer.lo == 0 && (self.peer.hi == 0 || self.peer.hi == crate::address::V4)
    }
}

/// An entry: one word, which is only ever replaced whole and by compare-and-exchange, so that nobody undoes what another CPU did.
///
/// 32 bits of [`tick`] of its last use, 16 of port, 8 of place of the VIP, 8 of [`super::state`]'s flags.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry(pub u64);

impl Entry {
    /// An entry that is used now.
    #[inline(always)]
    pub const fn new(last: u32, port: u16, vip: u8, flags: u8) -> Self {
        Self((last as u64) << 32 | (port as u64) << 16 | (vip as u64) << 8 | flags as u64)
    }

    /// When it was used last.
    #[inline(always)]
    pub const fn last(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The VIP's port in the forward map, the instance's in the reverse one.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Place of the VIP in [`Table::vips`].
    #[inline(always)]
    pub const fn vip(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// In the forward map: how far the flow is.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        self.0 as u8
    }

    /// Of a flow that has lost its port: as if there were none.
    #[inline(always)]
    pub const fn is_dead(self) -> bool {
        self.0 == 0
    }

    /// As [`crate::parse::Packet::forget`].
    #[inline(always)]
    pub const fn forget(self, one: u64) -> Self {
        Self(self.0.wrapping_mul(one))
    }

    /// The same VIP and port.
    #[inline(always)]
    pub const fn is_like(self, other: Self) -> bool {
        self.port() == other.port() && self.vip() == other.vip()
    }

    /// The same, used at another time and come to another place in its life.
    #[inline(always)]
    pub const fn with(self, last: u32, flags: u8) -> Self {
        Self::new(last, self.port(), self.vip(), flags)
    }

    /// Ticks since its last use. A CPU that read the clock a moment earlier is not far in the future.
    #[inline(always)]
    pub const fn idle(self, now: u32) -> u32 {
        let idle = now.wrapping_sub(self.last());
        if idle > u32::MAX / 2 { 0 } else { idle }
    }
}

/// What is counted, beside drops by [`crate::reason::Reason`]: per CPU.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// Packets that left with a VIP.
    Out = 0,
    /// Their bytes, as the programs see them (long ones before they are cut into segments).
    OutBytes = 1,
    /// Packets that came back.
    In = 2,
    /// Their bytes.
    InBytes = 3,
    /// Flows that began: TCP.
    Tcp = 4,
    /// UDP, a new peer of a port counted too.
    Udp = 5,
    /// ICMP.
    Icmp = 6,
    /// Candidates that were looked at for them: how full ports are.
    Tries = 7,
    /// Entries that were taken from a flow that was over.
    Replaced = 8,
}

impl Count {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Out,
        Self::OutBytes,
        Self::In,
        Self::InBytes,
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Tries,
        Self::Replaced,
    ];
}

/// To be made larger when the maps come to mean something else while their sizes stay.
const VERSION: u64 = 1;
/// As [`layout::LAYOUT`].
pub const LAYOUT: u64 = {
    let sizes = [VERSION, size_of::<Halves>() as u64, size_of::<Key>() as u64, FLOWS as u64, BOUNDS as u64];
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < sizes.len() {
        hash = (hash ^ sizes[at]).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
};

const _: () = assert!(size_of::<Key>() == 24 && size_of::<Entry>() == 8);
const _: () = assert!(size_of::<Vip>() == 24 + 3 * PORT_BLOCKS);
const _: () = assert!(
    size_of::<Table>()
        == 32
            + 4 * 8
            + 6 * 8
            + 2 * SNAT_VIPS * 8
            + SNAT_VIPS * size_of::<Vip>()
            + 2 * SERVED * 4
            + size_of::<SourceSet>()
);
const _: () = assert!(size_of::<Halves>().is_multiple_of(8) && Count::ALL.len() < COUNTS as usize);
const _: () = assert!(FRAGMENT_LINES.is_power_of_two() && SNAT_VIPS.is_power_of_two());
const _: () = assert!(layout::family(true) == 0);

#[cfg(not(target_arch = "bpf"))]
// SAFETY: repr(C), integers only, no padding (the size is asserted above).
unsafe impl aya::Pod for Key {}
