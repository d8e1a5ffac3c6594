//! ICMP and ICMPv6 to a VIP: errors about our flows go where the flow is; the rest is dropped, each with its reason.

use network_types::ip::IpProto;

use crate::{
    address::{self, Address, Flow},
    frame::Frame,
    headers::{Icmp, Ipv4, Ipv6, Ports},
    layout::Vip,
    parse::{self, Packet, Stop},
    reason::Reason,
    steer::Segment,
};

/// ICMP for IPv4 (RFC 792).
#[inline(always)]
pub fn v4<F: Frame>(frame: &F, packet: &Packet, vip: &Vip) -> Result<(Flow, Segment), Stop> {
    const ECHO: u8 = 8;
    const ECHO_REPLY: u8 = 0;

    let message = header(frame, packet)?;
    match message.kind {
        kind if is_error_v4(kind) => {}
        ECHO => return Err(Stop::Drop(Reason::IcmpEcho)),
        ECHO_REPLY if vip.leases != 0 => return Ok(answer(packet, message)),
        _ => return Err(Stop::Drop(Reason::IcmpType)),
    }
    let offset = packet.payload + size_of::<Icmp>();
    let Some(quoted) = frame.read::<Ipv4>(offset) else { return Err(Stop::Drop(Reason::Truncated)) };
    if !quoted.is_valid() || quoted.source() != vip.address || u16::from_be(quoted.fragment) & 0x1fff != 0 {
        return Err(Stop::Drop(Reason::IcmpQuote));
    }
    quote(frame, packet, offset + quoted.header_length(), quoted.protocol, quoted.destination())
}

/// ICMP for IPv6 (RFC 4443), neighbour discovery (RFC 4861).
#[inline(always)]
pub fn v6<F: Frame>(frame: &F, packet: &Packet, vip: &Vip) -> Result<(Flow, Segment), Stop> {
    const ECHO: u8 = 128;
    const ROUTER_SOLICITATION: u8 = 133;
    const REDIRECT: u8 = 137;
    const ECHO_REPLY: u8 = 129;

    let message = header(frame, packet)?;
    match message.kind {
        kind if is_error_v6(kind) => {}
        // RFC 4861: valid only with hop limit 255, so it comes from this link. Neighbours check a VIP's MAC by unicast.
        ROUTER_SOLICITATION..=REDIRECT if packet.hop_limit == 255 => return Err(Stop::Pass),
        ECHO => return Err(Stop::Drop(Reason::IcmpEcho)),
        ECHO_REPLY if vip.leases != 0 => return Ok(answer(packet, message)),
        _ => return Err(Stop::Drop(Reason::IcmpType)),
    }
    let offset = packet.payload + size_of::<Icmp>();
    let Some(quoted) = frame.read::<Ipv6>(offset) else { return Err(Stop::Drop(Reason::Truncated)) };
    if !quoted.is_valid() || quoted.source() != vip.address {
        return Err(Stop::Drop(Reason::IcmpQuote));
    }
    let chain = parse::extensions(frame, quoted.next_header, offset + Ipv6::LENGTH)?;
    if chain.part.is_later() {
        return Err(Stop::Drop(Reason::IcmpQuote));
    }
    quote(frame, packet, chain.payload, chain.protocol, quoted.destination())
}

/// An ICMP message that quotes the packet it is about: unreachable, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

/// The same in ICMPv6: unreachable, packet too big, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error_v6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

#[inline(always)]
fn header<F: Frame>(frame: &F, packet: &Packet) -> Result<Icmp, Stop> {
    if packet.payload + size_of::<Icmp>() > packet.end {
        return Err(Stop::Drop(Reason::BadLength));
    }
    frame.read::<Icmp>(packet.payload).ok_or(Stop::Drop(Reason::Truncated))
}

/// The answer to a query of an instance's: the identifier is where TCP and UDP have a port.
#[inline(always)]
fn answer(packet: &Packet, message: Icmp) -> (Flow, Segment) {
    let ports = address::ports(0, u16::from_be(message.rest as u16));
    (Flow { source: packet.source, ports, protocol: packet.protocol }, Segment::Datagram)
}

/// The client's flow, from the ports of a packet that went to it.
#[inline(always)]
fn quote<F: Frame>(
    frame: &F,
    packet: &Packet,
    offset: usize,
    protocol: u8,
    client: Address,
) -> Result<(Flow, Segment), Stop> {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    if offset + size_of::<Ports>() > packet.end {
        return Err(Stop::Drop(Reason::IcmpQuote));
    }
    match protocol {
        TCP | UDP => {}
        // A query of an instance's.
        ICMP | ICMPV6 if offset + size_of::<Icmp>() <= packet.end => {
            let message = frame.read::<Icmp>(offset).ok_or(Stop::Drop(Reason::Truncated))?;
            let ports = address::ports(0, u16::from_be(message.rest as u16));
            return Ok((Flow { source: client, ports, protocol }, Segment::Quote));
        }
        _ => return Err(Stop::Drop(Reason::IcmpQuote)),
    }
    let Some(ports) = frame.read::<Ports>(offset) else { return Err(Stop::Drop(Reason::Truncated)) };
    let ports = address::ports(u16::from_be(ports.destination), u16::from_be(ports.source));
    Ok((Flow { source: client, ports, protocol }, Segment::Quote))
}
