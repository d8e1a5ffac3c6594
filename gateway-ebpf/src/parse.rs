//! Where the headers of a frame are, and whether they hold together.

use core::mem::offset_of;

use network_types::{eth::EtherType, ip::IpProto};

use crate::{
    address::Address,
    checksum,
    frame::{Frame, Pod},
    headers::{Ethernet, Extension, Ipv4, Ipv6, Udp, Vlan},
    nat::End,
    reason::Reason,
};

/// EtherTypes as numbers in host order.
pub const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
/// As [`IPV4`].
pub const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);
const DOT1Q: u16 = u16::from_be(EtherType::Ieee8021q as u16);
const DOT1AD: u16 = u16::from_be(EtherType::Ieee8021ad as u16);

/// Extension headers that are looked through; RFC 8200 §4.1 orders seven kinds, of which hosts send two at most.
const EXTENSIONS: usize = 4;
/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// No payload that is rewritten begins further back in a frame than this: what the verifier has to know of an offset.
pub const FARTHEST: u16 = 1023;

/// A link-layer header and what it carries.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The header in front.
    pub ethernet: Ethernet,
    /// Of the payload, host order.
    pub ethertype: u16,
    /// Where the payload's type is.
    pub type_at: usize,
    /// Where the payload begins.
    pub end: usize,
}

/// Why a packet does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The fast program leaves it to the slow one, which decides anew.
    Slow,
    /// A peer's: the reply program finds out whether it has to get its VIP back.
    Reply,
    /// For the kernel.
    Pass,
    /// Counted under its reason.
    Drop(Reason),
}

impl From<Reason> for Stop {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self::Drop(reason)
    }
}

/// An IP packet whose header is sound and whole.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// The sender.
    pub source: Address,
    /// IANA's number of the payload.
    pub protocol: u8,
    /// Where its header begins.
    pub start: usize,
    /// Where the payload begins.
    pub payload: usize,
    /// Where the packet ends; the frame may be longer.
    pub end: usize,
    /// Of the fixed header.
    pub hop_limit: u8,
    /// Which part of a datagram it is.
    pub part: Part,
}

/// A whole datagram, or a fragment of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// [`MORE_FRAGMENTS`] and the offset in units of eight bytes, as in an IPv4 header; 0: the whole.
    pub field: u16,
    /// What all fragments of the datagram have in common.
    pub id: u32,
}

/// [`Part::field`]: this is not the last fragment.
pub const MORE_FRAGMENTS: u16 = 0x2000;

impl Part {
    /// Nothing is missing.
    pub const WHOLE: Self = Self { field: 0, id: 0 };

    /// Not a fragment.
    #[inline(always)]
    pub const fn is_whole(self) -> bool {
        self.field == 0
    }

    /// Without the transport header: `payload` is data, or the middle of a header.
    #[inline(always)]
    pub const fn is_later(self) -> bool {
        self.offset() != 0
    }

    /// Bytes of the datagram in front of it.
    #[inline(always)]
    pub const fn offset(self) -> usize {
        (self.field & 0x1fff) as usize * 8
    }
}

/// Four extension headers of 2 KiB, and what is in front, end before.
pub(crate) const FARTHEST_PAYLOAD: usize = 0x3fff;

impl Packet {
    /// The same packet, of which the verifier does not remember by which headers it came to be: it would else walk the rest of the
    /// program once for each sequence of them (see [`link`]).
    #[inline(always)]
    pub const fn forget(self, one: u64) -> Self {
        Self {
            part: Part { field: (self.part.field as u64 * one) as u16, ..self.part },
            payload: (self.payload as u64 * one) as usize & FARTHEST_PAYLOAD,
            ..self
        }
    }

    /// Bytes of the whole packet.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        self.end - self.start
    }
}

/// Ethernet, through at most two VLAN tags (IEEE 802.1Q, 802.1ad). `Stop::Pass`: not even an Ethernet header.
#[inline(always)]
pub fn link<F: Frame, const FULL: bool>(frame: &F, one: u64) -> Result<Link, Stop> {
    let ethernet = frame.read::<Ethernet>(0).ok_or(Stop::Pass)?;
    let mut ethertype = u16::from_be(ethernet.ethertype);
    let mut end = ETHERNET;
    if !FULL {
        let is_ip = ethertype == IPV4 || ethertype == IPV6;
        return if is_ip || !is_vlan(ethertype) {
            Ok(Link { ethernet, ethertype, type_at: end - 2, end })
        } else {
            Err(Stop::Slow)
        };
    }
    for _ in 0..2 {
        if !is_vlan(ethertype) {
            break;
        }
        let tag = frame.read::<Vlan>(end).ok_or(Stop::Pass)?;
        ethertype = u16::from_be(tag.ethertype);
        end += size_of::<Vlan>();
    }
    if is_vlan(ethertype) {
        return Err(Stop::Drop(Reason::VlanDepth));
    }
    // The verifier would else walk the rest of the program once for each depth.
    let any = |offset: usize| (offset as u64 * one) as usize & 31;
    Ok(Link { ethernet, ethertype, type_at: any(end - 2), end: any(end) })
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    ethertype == DOT1Q || ethertype == DOT1AD
}

/// An IP header that was read at some offset. The pipeline is built once for each version: with one for both, values that
/// only one of them has went through the stack.
pub trait IpHeader: Pod {
    /// Whether addresses are IPv4's.
    const IS_V4: bool;

    /// Where the packet comes from.
    fn source(&self) -> Address;

    /// Where the packet goes.
    fn destination(&self) -> Address;

    /// Checks the header, options or extension headers included, and finds the payload.
    fn packet<F: Frame, const FULL: bool>(&self, frame: &F, offset: usize) -> Result<Packet, Stop>;

    /// Type of service or traffic class: DSCP and ECN.
    fn service(&self) -> u8;

    /// One hop less, in the frame at `offset`; `None` where no hop is left.
    fn age<F: Frame>(&self, frame: &mut F, offset: usize) -> Option<()>;

    /// Another address at one end, `hops` hops later, in the frame at `offset`: by how much the sum of the pseudo-header is
    /// different now. `None`, and nothing written, where no hop is left.
    fn readdress<F: Frame>(&self, frame: &mut F, offset: usize, end: (End, Address), hops: u8)
    -> Option<u64>;

    /// Routers may cut the packet where it is too big.
    fn may_be_cut(&self) -> bool;

    /// In a header that an ICMP error quotes from `offset` on: what follows it, and where. `None` where that is not known.
    fn quoted<F: Frame>(&self, frame: &F, offset: usize) -> Option<(u8, usize)>;

    /// What all 16-bit words of the packet add up to once it has [aged](Self::age), known without reading its data: a segment
    /// with a right checksum adds up to the complement of its pseudo-header. `None` where that is not so.
    fn sum<F: Frame>(&self, frame: &F, packet: &Packet) -> Option<u16>;
}

impl IpHeader for Ipv4 {
    const IS_V4: bool = true;

    #[inline(always)]
    fn source(&self) -> Address {
        self.source()
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination()
    }

    #[inline(always)]
    fn packet<F: Frame, const FULL: bool>(&self, frame: &F, offset: usize) -> Result<Packet, Stop> {
        const PLAIN: u8 = 0x45;
        if !FULL && self.version_length != PLAIN {
            return Err(Stop::Slow);
        }
        if !self.is_valid() {
            return Err(Stop::Drop(Reason::BadHeader));
        }
        let total = u16::from_be(self.total_length) as usize;
        if total < self.header_length() || offset + total > frame.length() {
            return Err(Stop::Drop(Reason::BadLength));
        }
        if !FULL && self.is_fragment() {
            return Err(Stop::Slow);
        }
        let field = u16::from_be(self.fragment) & 0x3fff;
        let id = u16::from_be(self.identification).into();
        Ok(Packet {
            source: self.source(),
            protocol: self.protocol,
            start: offset,
            payload: offset + self.header_length(),
            end: offset + total,
            hop_limit: self.ttl,
            part: if FULL { Part { field, id } } else { Part::WHOLE },
        })
    }

    #[inline(always)]
    fn service(&self) -> u8 {
        self.service
    }

    #[inline(always)]
    fn age<F: Frame>(&self, frame: &mut F, offset: usize) -> Option<()> {
        if self.ttl <= 1 {
            return None;
        }
        // RFC 1141: the word of TTL and protocol is 0x100 less, so the checksum is that much more.
        let sum = u32::from(u16::from_be(self.checksum)) + 0x100;
        let checksum = (sum + u32::from(sum >= 0xffff)) as u16;
        frame.write(offset + offset_of!(Self, ttl), self.ttl - 1)?;
        frame.write(offset + offset_of!(Self, checksum), checksum.to_be())
    }

    #[inline(always)]
    fn readdress<F: Frame>(
        &self,
        frame: &mut F,
        offset: usize,
        (end, to): (End, Address),
        hops: u8,
    ) -> Option<u64> {
        // A word that is 0x100 less makes the sum as much less as 0xfeff makes it more.
        const HOP: u64 = 0xffff - 0x100;
        if hops != 0 && self.ttl <= hops {
            return None;
        }
        let (before, place) = match end {
            End::Source => (self.source(), offset_of!(Self, source)),
            End::Destination => (self.destination(), offset_of!(Self, destination)),
        };
        let change = checksum::change_of_address(before, to);
        let checksum = checksum::adjust(u16::from_be(self.checksum), change + u64::from(hops) * HOP);
        frame.write(offset + offset_of!(Self, ttl), self.ttl - hops)?;
        frame.write(offset + offset_of!(Self, checksum), checksum.to_be())?;
        frame.write(offset + place, (to.lo as u32).to_be())?;
        Some(change)
    }

    #[inline(always)]
    fn may_be_cut(&self) -> bool {
        const DONT_FRAGMENT: u16 = 0x4000;
        u16::from_be(self.fragment) & DONT_FRAGMENT == 0
    }

    #[inline(always)]
    fn quoted<F: Frame>(&self, _: &F, offset: usize) -> Option<(u8, usize)> {
        if !self.is_valid() || u16::from_be(self.fragment) & 0x1fff != 0 {
            return None;
        }
        Some((self.protocol, offset + self.header_length()))
    }

    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &F, packet: &Packet) -> Option<u16> {
        // The header itself adds up to zero.
        if packet.protocol == IpProto::Icmp as u8 {
            return Some(0);
        }
        // Nothing is known of what a part adds up to.
        if self.is_fragment() || !has_checksum(frame, packet) {
            return None;
        }
        let pseudo = u64::from(u32::from_be(self.source))
            + u64::from(u32::from_be(self.destination))
            + u64::from(packet.protocol)
            + (packet.end - packet.payload) as u64;
        Some(!checksum::fold(pseudo))
    }
}

impl IpHeader for Ipv6 {
    const IS_V4: bool = false;

    #[inline(always)]
    fn source(&self) -> Address {
        self.source()
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination()
    }

    #[inline(always)]
    fn packet<F: Frame, const FULL: bool>(&self, frame: &F, offset: usize) -> Result<Packet, Stop> {
        // RFC 4291 §2.7: multicast is never a source; here it could pass for IPv4 (`address::V4`).
        if !self.is_valid() || self.source().hi >> 56 == 0xff {
            return Err(Stop::Drop(Reason::BadHeader));
        }
        let end = offset + Self::LENGTH + u16::from_be(self.payload_length) as usize;
        if end > frame.length() {
            return Err(Stop::Drop(Reason::BadLength));
        }
        let Chain { protocol, payload, part } = if FULL {
            extensions(frame, self.next_header, offset + Self::LENGTH)?
        } else if is_extension(self.next_header) {
            return Err(Stop::Slow);
        } else {
            Chain { protocol: self.next_header, payload: offset + Self::LENGTH, part: Part::WHOLE }
        };
        let (source, hop_limit) = (self.source(), self.hop_limit);
        Ok(Packet { source, protocol, start: offset, payload, end, hop_limit, part })
    }

    #[inline(always)]
    fn service(&self) -> u8 {
        (u32::from_be(self.version_class_flow) >> 20) as u8
    }

    #[inline(always)]
    fn age<F: Frame>(&self, frame: &mut F, offset: usize) -> Option<()> {
        if self.hop_limit <= 1 {
            return None;
        }
        frame.write(offset + offset_of!(Self, hop_limit), self.hop_limit - 1)
    }

    #[inline(always)]
    fn readdress<F: Frame>(
        &self,
        frame: &mut F,
        offset: usize,
        (end, to): (End, Address),
        hops: u8,
    ) -> Option<u64> {
        if hops != 0 && self.hop_limit <= hops {
            return None;
        }
        let (before, place) = match end {
            End::Source => (self.source(), offset_of!(Self, source_hi)),
            End::Destination => (self.destination(), offset_of!(Self, destination_hi)),
        };
        frame.write(offset + offset_of!(Self, hop_limit), self.hop_limit - hops)?;
        frame.write(offset + place, to.hi.to_be())?;
        frame.write(offset + place + size_of::<u64>(), to.lo.to_be())?;
        Some(checksum::change_of_address(before, to))
    }

    #[inline(always)]
    fn may_be_cut(&self) -> bool {
        false
    }

    #[inline(always)]
    fn quoted<F: Frame>(&self, frame: &F, offset: usize) -> Option<(u8, usize)> {
        if !self.is_valid() {
            return None;
        }
        let chain = extensions(frame, self.next_header, offset + Self::LENGTH).ok()?;
        if chain.part.is_later() { None } else { Some((chain.protocol, chain.payload)) }
    }

    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &F, packet: &Packet) -> Option<u16> {
        if packet.payload != packet.start + Self::LENGTH || !has_checksum(frame, packet) {
            return None;
        }
        // Addresses, length and protocol are in the header and, taken away, in the segment. That no hop is left is seen later.
        let words = u64::from(u32::from_be(self.version_class_flow))
            + (u64::from(self.next_header) << 8 | u64::from(self.hop_limit.wrapping_sub(1)))
            + u64::from(!u16::from(self.next_header));
        Some(checksum::fold(words))
    }
}

/// TCP, ICMPv6, and UDP unless its sender left it out (RFC 768).
#[inline(always)]
fn has_checksum<F: Frame>(frame: &F, packet: &Packet) -> bool {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    match packet.protocol {
        TCP | ICMPV6 => true,
        // Nor is anything known of what is behind the datagram (RFC 9868).
        UDP => frame.read::<Udp>(packet.payload).is_some_and(|udp| {
            udp.checksum != 0 && usize::from(u16::from_be(udp.length)) == packet.end - packet.payload
        }),
        _ => false,
    }
}

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const DESTINATION: u8 = IpProto::Ipv6Opts as u8;

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Where extension headers lead.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    /// IANA's number of the payload; of a later fragment what its fragment header says, which is nothing to go by.
    pub protocol: u8,
    /// Where the payload begins.
    pub payload: usize,
    /// As the fragment header says.
    pub part: Part,
}

/// Follows extension headers (RFC 8200 §4) to the payload, which in a later fragment is what follows the fragment header.
#[inline(always)]
pub fn extensions<F: Frame>(frame: &F, mut protocol: u8, mut payload: usize) -> Result<Chain, Reason> {
    let mut part = Part::WHOLE;
    for _ in 0..EXTENSIONS {
        if !is_extension(protocol) {
            return Ok(Chain { protocol, payload, part });
        }
        let Some(extension) = frame.read::<Extension>(payload) else { return Err(Reason::Truncated) };
        let third = u16::from_be(extension.third);
        payload += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (extension.length as usize + 2) * 4,
            _ => (extension.length as usize + 1) * 8,
        };
        match protocol {
            // RFC 6946: an atomic fragment, offset 0 and nothing to follow, is a whole datagram.
            FRAGMENT if third & 0xfff9 != 0 => {
                // A fragment of a fragment.
                if !part.is_whole() {
                    return Err(Reason::BadHeader);
                }
                part = Part { field: third >> 3 | (third & 1) << 13, id: u32::from_be(extension.fourth) };
                if part.is_later() {
                    return Ok(Chain { protocol: extension.next_header, payload, part });
                }
            }
            // RFC 5095: an end node does not forward by it.
            ROUTING if third & 0xff != 0 => return Err(Reason::RoutingHeader),
            _ => {}
        }
        protocol = extension.next_header;
    }
    if is_extension(protocol) { Err(Reason::ExtensionDepth) } else { Ok(Chain { protocol, payload, part }) }
}
