//! Another address and port at one end of a packet (RFC 3022), and the checksums that follow from it (RFC 1624): their cost does
//! not grow with the packet.

use core::mem::offset_of;

use network_types::ip::IpProto;

use crate::{
    address::Address,
    checksum,
    frame::Frame,
    headers::{Icmp, Ports, Tcp, Udp},
    parse::{IpHeader, Packet, Stop},
    reason::Reason,
};

/// Which end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl End {
    /// The same end, as a packet that went the other way has it: an ICMP error quotes such a one.
    #[inline(always)]
    pub(crate) const fn of_quote(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }

    /// Where this end's port is in TCP and UDP.
    #[inline(always)]
    pub(crate) const fn port_at(self) -> usize {
        match self {
            Self::Source => offset_of!(Ports, source),
            Self::Destination => offset_of!(Ports, destination),
        }
    }
}

/// What an end becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Of the packet's family.
    pub address: Address,
    /// 0: ports stay, for the packet has none (a later fragment, an answer to a ping).
    pub port: u16,
}

/// Gives the packet another end, `hops` hops later: in its header, its ports, and what an ICMP error quotes (RFC 5508 §4.2).
/// In the fast program (`!FULL`) there are only TCP and UDP.
#[inline(always)]
pub fn translate<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    header: &H,
    packet: &Packet,
    (end, to): (End, Endpoint),
    hops: u8,
) -> Result<(), Stop> {
    let change =
        header.readdress(frame, packet.start, (end, to.address), hops).ok_or(Stop::Drop(Reason::HopLimit))?;
    if FULL && to.port == 0 {
        return Ok(());
    }
    match packet.protocol {
        TCP | UDP => {
            ports::<_, false>(frame, (packet.protocol, packet.payload, packet.end), (end, to.port), change)
                .map(|_| ())
                .ok_or(Stop::Drop(Reason::Truncated))
        }
        ICMP | ICMPV6 if FULL => {
            let (message, quoted) = ((packet.payload, packet.end), (end.of_quote(), to));
            let done = match end {
                // It may be a ping of the instance's own that is quoted.
                End::Destination => quote::<_, H, true>(frame, message, quoted, change),
                End::Source => quote::<_, H, false>(frame, message, quoted, change),
            };
            done.ok_or(Stop::Drop(Reason::Truncated))
        }
        _ => Ok(()),
    }
}

/// The checksum of a message of ICMPv6, which covers the addresses (RFC 4443 §2.3), once one of them has become another.
#[inline(always)]
pub fn message<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    (before, after): (Address, Address),
) -> Result<(), Stop> {
    let sum_at = packet.payload + offset_of!(Icmp, checksum);
    let sum = frame.read::<u16>(sum_at).ok_or(Stop::Drop(Reason::Truncated))?;
    let change = checksum::change_of_address(before, after);
    let sum = checksum::adjust(u16::from_be(sum), change);
    frame.write(sum_at, sum.to_be()).ok_or(Stop::Drop(Reason::Truncated))
}

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

/// Another port, and the segment's checksum, which covers the addresses too. By how much the segment's sum is different now. With
/// `QUERIES` it may be an ICMP query, which has its identifier for the port.
///
/// A quoted segment may end before its checksum (RFC 792 asks for eight bytes), and then there is none to change.
#[inline(always)]
fn ports<F: Frame, const QUERIES: bool>(
    frame: &mut F,
    (protocol, start, end): (u8, usize, usize),
    (which, port): (End, u16),
    addresses: u64,
) -> Option<u64> {
    let is_query = QUERIES && (protocol == ICMP || protocol == ICMPV6);
    let port_at = start + if is_query { offset_of!(Icmp, rest) } else { which.port_at() };
    let before = u16::from_be(frame.read::<u16>(port_at)?);
    frame.write(port_at, port.to_be())?;
    let change = checksum::change(before, port);

    let sum_at = start
        + match protocol {
            TCP => offset_of!(Tcp, checksum),
            _ if is_query => offset_of!(Icmp, checksum),
            _ => offset_of!(Udp, checksum),
        };
    if sum_at + size_of::<u16>() > end {
        return Some(change);
    }
    let before = u16::from_be(frame.read::<u16>(sum_at)?);
    // RFC 768: zero is no checksum, and a checksum of zero is sent as its other form.
    if protocol == UDP && before == 0 {
        return Some(change);
    }
    // ICMP for IPv4 has no pseudo-header.
    let addresses = if QUERIES && protocol == ICMP { 0 } else { addresses };
    let after = match checksum::adjust(before, addresses + change) {
        0 if protocol == UDP => 0xffff,
        after => after,
    };
    frame.write(sum_at, after.to_be())?;
    Some(change + checksum::change(before, after))
}

/// The same end in the packet that an ICMP error quotes, and the checksum of the message, which covers the quote.
#[inline(always)]
pub(crate) fn quote<F: Frame, H: IpHeader, const QUERIES: bool>(
    frame: &mut F,
    (message, message_end): (usize, usize),
    (end, to): (End, Endpoint),
    outer: u64,
) -> Option<()> {
    let start = message + size_of::<Icmp>();
    let header = frame.read::<H>(start)?;
    let (protocol, payload) = header.quoted(frame, start)?;
    let addresses = header.readdress(frame, start, (end, to.address), 0)?;
    let segment = ports::<_, QUERIES>(frame, (protocol, payload, message_end), (end, to.port), addresses)?;
    // An IPv4 header adds up to the same as before, by its own checksum, and is not covered outside (RFC 792).
    let change = if H::IS_V4 { segment } else { outer + addresses + segment };
    let sum_at = message + offset_of!(Icmp, checksum);
    let before = u16::from_be(frame.read::<u16>(sum_at)?);
    frame.write(sum_at, checksum::adjust(before, change).to_be())
}
