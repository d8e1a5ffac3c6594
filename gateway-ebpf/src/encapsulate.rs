//! An outer header around a packet: IP in IP (RFC 2003, RFC 2473), or generic UDP encapsulation (draft-ietf-intarea-gue-09).
//!
//! DSCP and ECN are copied to the outer header (RFC 6040, normal mode). The packet is on its way through a router, so its
//! hop limit is one less (RFC 2003 §3.1); the outer one is fresh. Over IPv4, DF is set: how large a packet may be is known,
//! and a larger one is not cut but refused (RFC 2003 §5.1), so the identification may be 0 (RFC 6864 §4.1).

use network_types::ip::IpProto;

use crate::{
    checksum,
    frame::{Frame, Pod},
    headers::{GUE_PORT, Gue, Ipv4, Ipv6, Macs, Udp},
    layout::Instance,
    parse::{self, IpHeader, Link, Packet, Stop},
    reason::Reason,
};

/// Hops that an outer header begins with (RFC 1700).
pub const HOPS: u8 = 64;
/// RFC 791 §3.1: the flag that forbids to cut.
pub const DONT_FRAGMENT: u16 = 0x4000;

/// Where VLAN tags are, two at most.
pub const TAGS: usize = 12;

/// What stands between the link's header and the packet.
#[derive(Debug, Clone, Copy)]
pub enum Tunnel {
    /// Nothing but an IP header.
    Ipip,
    /// UDP and GUE too.
    Gue {
        /// From the flow's hash, so that routers and queues spread flows (RFC 7510 §3).
        source_port: u16,
    },
}

/// Bytes that UDP and GUE take.
const GUE_BYTES: usize = size_of::<Udp>() + size_of::<Gue>();

/// Puts `instance`'s outer IPv4 header around the packet.
#[inline(always)]
pub fn over_v4<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    link: &Link,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    tunnel: Tunnel,
) -> Result<(), Stop> {
    let (protocol, more) = match tunnel {
        Tunnel::Ipip => (inner_protocol::<H>(), 0),
        Tunnel::Gue { .. } => (IpProto::Udp as u8, GUE_BYTES),
    };
    let place =
        open::<_, _, FULL>(frame, link, header, packet, instance, size_of::<Ipv4>() + more, parse::IPV4)?;
    let length = (packet.length() + size_of::<Ipv4>() + more) as u16;
    let service = header.service();
    let sum = u64::from(instance.sum) + u64::from(service) + u64::from(length);
    let outer = Ipv4 {
        version_length: 0x45,
        service,
        total_length: length.to_be(),
        identification: 0,
        fragment: DONT_FRAGMENT.to_be(),
        ttl: HOPS,
        protocol,
        checksum: (!checksum::fold(sum)).to_be(),
        source: (instance.source.lo as u32).to_be(),
        destination: (instance.address.lo as u32).to_be(),
    };
    put(frame, place, outer)?;
    if let Tunnel::Gue { source_port } = tunnel {
        // RFC 768: none, since the packet inside has its own; routers need not look at it.
        gue::<_, H>(frame, place + size_of::<Ipv4>(), source_port, packet.length(), 0)?;
    }
    Ok(())
}

/// Puts `instance`'s outer IPv6 header around the packet.
#[inline(always)]
pub fn over_v6<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    link: &Link,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    tunnel: Tunnel,
) -> Result<(), Stop> {
    let (protocol, more) = match tunnel {
        Tunnel::Ipip => (inner_protocol::<H>(), 0),
        Tunnel::Gue { .. } => (IpProto::Udp as u8, GUE_BYTES),
    };
    let checksum = match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gue { source_port } => udp_checksum(frame, header, packet, instance, source_port),
    };
    let place =
        open::<_, _, FULL>(frame, link, header, packet, instance, size_of::<Ipv6>() + more, parse::IPV6)?;
    let outer = Ipv6 {
        version_class_flow: (6 << 28 | u32::from(header.service()) << 20).to_be(),
        payload_length: ((packet.length() + more) as u16).to_be(),
        next_header: protocol,
        hop_limit: HOPS,
        source_hi: instance.source.hi.to_be(),
        source_lo: instance.source.lo.to_be(),
        destination_hi: instance.address.hi.to_be(),
        destination_lo: instance.address.lo.to_be(),
    };
    put(frame, place, outer)?;
    if let Tunnel::Gue { source_port } = tunnel {
        gue::<_, H>(frame, place + size_of::<Ipv6>(), source_port, packet.length(), checksum)?;
    }
    Ok(())
}

/// The protocol number of a packet with this header.
#[inline(always)]
const fn inner_protocol<H: IpHeader>() -> u8 {
    if H::IS_V4 { IpProto::Ipv4 as u8 } else { IpProto::Ipv6 as u8 }
}

/// Makes room behind the link's header, which is written anew for the next hop; where the room begins.
#[inline(always)]
fn open<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    link: &Link,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    bytes: usize,
    ethertype: u16,
) -> Result<usize, Stop> {
    header.age(frame, packet.start).ok_or(Stop::Drop(Reason::HopLimit))?;
    // Tags stay, as in l2 mode; where there are none, the outer header is written over these bytes.
    let tags = if FULL { frame.read::<u64>(TAGS).ok_or(Stop::Drop(Reason::Truncated))? } else { 0 };
    frame.grow(bytes).ok_or(Stop::Drop(Reason::NoRoom))?;
    let [a, b, c] = instance.macs;
    put(frame, 0, Macs { a, b, c })?;
    if FULL {
        put(frame, TAGS, tags)?;
    }
    put(frame, link.type_at, ethertype.to_be())?;
    Ok(link.end)
}

#[inline(always)]
fn put<F: Frame, T: Pod>(frame: &mut F, offset: usize, value: T) -> Result<(), Stop> {
    frame.write(offset, value).ok_or(Stop::Drop(Reason::Truncated))
}

#[inline(always)]
fn gue<F: Frame, H: IpHeader>(
    frame: &mut F,
    offset: usize,
    source_port: u16,
    inner: usize,
    checksum: u16,
) -> Result<(), Stop> {
    let ports = u32::from(source_port) << 16 | u32::from(GUE_PORT);
    let length = (inner + GUE_BYTES) as u16;
    put(frame, offset, Udp { ports: ports.to_be(), length: length.to_be(), checksum: checksum.to_be() })?;
    put(
        frame,
        offset + size_of::<Udp>(),
        Gue { variant_length: 0, protocol: inner_protocol::<H>(), flags: 0 },
    )
}

/// The UDP checksum over IPv6 from headers alone: a TCP or UDP segment with a right checksum adds up to the complement of its
/// pseudo-header, whatever is in it. Where the segment's is wrong, so is this one, and the packet is lost one hop earlier.
///
/// Zero, which RFC 6935 allows for tunnels, where that is not known: a UDP checksum of zero, a fragment, extension headers.
#[inline(always)]
fn udp_checksum<F: Frame, H: IpHeader>(
    frame: &F,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    source_port: u16,
) -> u16 {
    let Some(inner) = header.sum(frame, packet) else { return 0 };
    let length = (packet.length() + GUE_BYTES) as u64;
    // The length counts twice: in the pseudo-header and in the header.
    let sum = u64::from(instance.sum)
        + 2 * length
        + u64::from(source_port)
        + u64::from(GUE_PORT)
        + u64::from(inner_protocol::<H>())
        + u64::from(inner);
    match !checksum::fold(sum) {
        0 => 0xffff,
        sum => sum,
    }
}
