//! A frame as the RFCs have it, read by none of the code under test: what the invariants go by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP packet in a frame.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Where its header begins.
    pub(crate) start: usize,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Bytes that it says it has.
    pub(crate) length: usize,
    pub(crate) part: Part,
    pub(crate) load: Load,
}

/// Of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    Later,
}

/// What a packet carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// To this port.
    Tcp(u16),
    /// About a TCP segment from this end to that address.
    Error {
        from: IpAddr,
        port: u16,
        to: IpAddr,
    },
    Other,
}

/// The packet of a frame with two VLAN tags at most; `None`: no IP, or cut in the header.
pub(crate) fn see(frame: &[u8]) -> Option<Seen> {
    let mut at = 12;
    for _ in 0..2 {
        if matches!(number(frame, at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
    }
    let kind = number(frame, at)?;
    let packet = frame.get(at + 2..)?;
    let mut seen = match kind {
        0x0800 => v4(packet)?,
        0x86dd => v6(packet)?,
        _ => return None,
    };
    seen.start = at + 2;
    Some(seen)
}

fn v4(packet: &[u8]) -> Option<Seen> {
    let address = |at| Some(Ipv4Addr::from(bytes::<4>(packet, at)?).into());
    let (source, destination) = (address(12)?, address(16)?);
    let field = number(packet, 6)?;
    let part = part(field & 0x1fff, field & 0x2000 != 0);
    let load = load(packet, usize::from(packet[0] & 15) * 4, packet[9], part);
    Some(Seen { start: 0, source, destination, length: number(packet, 2)?.into(), part, load })
}

fn v6(packet: &[u8]) -> Option<Seen> {
    let address = |at| Some(Ipv6Addr::from(bytes::<16>(packet, at)?).into());
    let (source, destination) = (address(8)?, address(24)?);
    let (protocol, at, part) = chain(packet);
    let length = 40 + usize::from(number(packet, 4)?);
    Some(Seen { start: 0, source, destination, length, part, load: load(packet, at, protocol, part) })
}

fn chain(packet: &[u8]) -> (u8, usize, Part) {
    let (mut protocol, mut at, mut found) = (packet[6], 40, Part::Whole);
    while let (0 | 43 | 44 | 51 | 60, Some([next, length])) = (protocol, bytes::<2>(packet, at)) {
        let field = number(packet, at + 2).unwrap_or_default();
        at += match protocol {
            44 => 8,
            51 => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        if protocol == 44 && part(field >> 3, field & 1 != 0) != Part::Whole {
            found = part(field >> 3, field & 1 != 0);
        }
        protocol = next;
        if found == Part::Later {
            break;
        }
    }
    (protocol, at, found)
}

fn part(offset: u16, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

fn load(packet: &[u8], at: usize, protocol: u8, part: Part) -> Load {
    let tcp = || Some(Load::Tcp(number(packet, at + 2)?));
    let error = || quote(packet.get(at + 8..)?);
    let is_error = match (protocol, packet.get(at)) {
        (1, Some(kind)) => matches!(kind, 3 | 11 | 12),
        (58, Some(kind)) => matches!(kind, 1..=4),
        _ => false,
    };
    match (protocol, part) {
        (_, Part::Later) => None,
        (6, _) => tcp(),
        _ if is_error => error(),
        _ => None,
    }
    .unwrap_or(Load::Other)
}

fn quote(packet: &[u8]) -> Option<Load> {
    let (source, destination, protocol, at) = if packet.first()? >> 4 == 4 {
        let address = |at| Some(IpAddr::from(Ipv4Addr::from(bytes::<4>(packet, at)?)));
        (address(12)?, address(16)?, packet[9], usize::from(packet[0] & 15) * 4)
    } else {
        let address = |at| Some(IpAddr::from(Ipv6Addr::from(bytes::<16>(packet, at)?)));
        let (source, destination) = (address(8)?, address(24)?);
        let (protocol, at, _) = chain(packet);
        (source, destination, protocol, at)
    };
    (protocol == 6).then_some(Load::Error { from: source, port: number(packet, at)?, to: destination })
}

/// 16 bits in network order.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    self::bytes(bytes, at).map(u16::from_be_bytes)
}

fn bytes<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
