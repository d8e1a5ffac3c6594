//! The packet that an ICMP error quotes, with another end (RFC 5508 §4.2): as on a balancer in nat mode ([`crate::nat`]), and of ICMP
//! queries too.

use core::mem::offset_of;

use network_types::ip::IpProto;

use crate::{
    checksum,
    frame::Frame,
    headers::{Icmp, Tcp, Udp},
    nat::{End, Endpoint},
    parse::IpHeader,
};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

/// The same end in the packet that an ICMP error quotes, and the checksum of the message, which covers the quote.
#[inline(always)]
pub(super) fn rewrite<F: Frame, H: IpHeader>(
    frame: &mut F,
    (message, message_end): (usize, usize),
    (end, to): (End, Endpoint),
    outer: u64,
) -> Option<()> {
    let start = message + size_of::<Icmp>();
    let header = frame.read::<H>(start)?;
    let (protocol, payload) = header.quoted(frame, start)?;
    let addresses = header.readdress(frame, start, (end, to.address), 0)?;
    let segment = ports(frame, (protocol, payload, message_end), (end, to.port), addresses)?;
    // An IPv4 header adds up to the same as before, by its own checksum, and is not covered outside (RFC 792).
    let change = if H::IS_V4 { segment } else { outer + addresses + segment };
    let sum_at = message + offset_of!(Icmp, checksum);
    let before = u16::from_be(frame.read::<u16>(sum_at)?);
    frame.write(sum_at, checksum::adjust(before, change).to_be())
}

/// Another port, and the segment's checksum, which covers the addresses too. By how much the segment's sum is different now.
///
/// A quoted segment may end before its checksum (RFC 792 asks for eight bytes), and then there is none to change.
#[inline(always)]
fn ports<F: Frame>(
    frame: &mut F,
    (protocol, start, end): (u8, usize, usize),
    (which, port): (End, u16),
    addresses: u64,
) -> Option<u64> {
    let is_icmp = protocol == ICMP || protocol == ICMPV6;
    let port_at = start + if is_icmp { offset_of!(Icmp, rest) } else { which.port_at() };
    let before = u16::from_be(frame.read::<u16>(port_at)?);
    frame.write(port_at, port.to_be())?;
    let change = checksum::change(before, port);

    let sum_at = start
        + match protocol {
            TCP => offset_of!(Tcp, checksum),
            ICMP | ICMPV6 => offset_of!(Icmp, checksum),
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
    let addresses = if protocol == ICMP { 0 } else { addresses };
    let after = match checksum::adjust(before, addresses + change) {
        0 if protocol == UDP => 0xffff,
        after => after,
    };
    frame.write(sum_at, after.to_be())?;
    Some(change + checksum::change(before, after))
}
