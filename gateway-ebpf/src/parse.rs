//! Where the headers of a frame are, and whether they hold together.

use network_types::{eth::EtherType, ip::IpProto};

use crate::{
    address::Address,
    frame::{Frame, Pod},
    headers::{Ethernet, Extension, Ipv4, Ipv6, Vlan},
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

/// A link-layer header and what it carries.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The header in front.
    pub ethernet: Ethernet,
    /// Of the payload, host order.
    pub ethertype: u16,
    /// Where the payload begins.
    pub end: usize,
}

/// An IP packet whose header is sound and whole.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// The sender.
    pub source: Address,
    /// IANA's number of the payload.
    pub protocol: u8,
    /// Where the payload begins.
    pub payload: usize,
    /// Where the packet ends; the frame may be longer.
    pub end: usize,
    /// Of the fixed header.
    pub hop_limit: u8,
}

/// Ethernet, through at most two VLAN tags (IEEE 802.1Q, 802.1ad). `Ok(None)`: not even an Ethernet header.
#[inline(always)]
pub fn link<F: Frame>(frame: &F) -> Result<Option<Link>, Reason> {
    let Some(ethernet) = frame.read::<Ethernet>(0) else { return Ok(None) };
    let mut ethertype = u16::from_be(ethernet.ethertype);
    let mut end = ETHERNET;
    for _ in 0..2 {
        if !is_vlan(ethertype) {
            break;
        }
        let Some(tag) = frame.read::<Vlan>(end) else { return Ok(None) };
        ethertype = u16::from_be(tag.ethertype);
        end += size_of::<Vlan>();
    }
    if is_vlan(ethertype) {
        return Err(Reason::VlanDepth);
    }
    Ok(Some(Link { ethernet, ethertype, end }))
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

    /// Where the packet goes.
    fn destination(&self) -> Address;

    /// Checks the header, options or extension headers included, and finds the payload.
    fn packet<F: Frame>(&self, frame: &F, offset: usize) -> Result<Packet, Reason>;
}

impl IpHeader for Ipv4 {
    const IS_V4: bool = true;

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination()
    }

    #[inline(always)]
    fn packet<F: Frame>(&self, frame: &F, offset: usize) -> Result<Packet, Reason> {
        if !self.is_valid() {
            return Err(Reason::BadHeader);
        }
        let total = u16::from_be(self.total_length) as usize;
        if total < self.header_length() || offset + total > frame.length() {
            return Err(Reason::BadLength);
        }
        if self.is_fragment() {
            return Err(Reason::Fragment);
        }
        Ok(Packet {
            source: self.source(),
            protocol: self.protocol,
            payload: offset + self.header_length(),
            end: offset + total,
            hop_limit: self.ttl,
        })
    }
}

impl IpHeader for Ipv6 {
    const IS_V4: bool = false;

    #[inline(always)]
    fn destination(&self) -> Address {
        self.destination()
    }

    #[inline(always)]
    fn packet<F: Frame>(&self, frame: &F, offset: usize) -> Result<Packet, Reason> {
        // RFC 4291 §2.7: multicast is never a source; here it could pass for IPv4 (`address::V4`).
        if !self.is_valid() || self.source().hi >> 56 == 0xff {
            return Err(Reason::BadHeader);
        }
        let end = offset + Self::LENGTH + u16::from_be(self.payload_length) as usize;
        if end > frame.length() {
            return Err(Reason::BadLength);
        }
        let (protocol, payload) = extensions(frame, self.next_header, offset + Self::LENGTH)?;
        Ok(Packet { source: self.source(), protocol, payload, end, hop_limit: self.hop_limit })
    }
}

/// Follows extension headers (RFC 8200 §4) to the payload: its protocol and offset.
#[inline(always)]
pub fn extensions<F: Frame>(frame: &F, mut protocol: u8, mut offset: usize) -> Result<(u8, usize), Reason> {
    const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    const ROUTING: u8 = IpProto::Ipv6Route as u8;
    const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    const AUTHENTICATION: u8 = IpProto::Ah as u8;
    const DESTINATION: u8 = IpProto::Ipv6Opts as u8;

    for _ in 0..EXTENSIONS {
        if !matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Ok((protocol, offset));
        }
        let Some(extension) = frame.read::<Extension>(offset) else { return Err(Reason::Truncated) };
        let third = u16::from_be(extension.third);
        match protocol {
            // RFC 6946: an atomic fragment, offset 0 and nothing to follow, is a whole datagram.
            FRAGMENT if third & 0xfff9 != 0 => return Err(Reason::Fragment),
            // RFC 5095: an end node does not forward by it.
            ROUTING if third & 0xff != 0 => return Err(Reason::RoutingHeader),
            _ => {}
        }
        offset += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (extension.length as usize + 2) * 4,
            _ => (extension.length as usize + 1) * 8,
        };
        protocol = extension.next_header;
    }
    match protocol {
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION => Err(Reason::ExtensionDepth),
        _ => Ok((protocol, offset)),
    }
}
