//! Frames for the wire, byte by byte: code of the lab's own, so that it can disagree with the code under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Mac;

/// IPv4 in Ethernet.
pub const IPV4: u16 = 0x0800;
/// IPv6 in Ethernet.
pub const IPV6: u16 = 0x86dd;
/// An 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// An 802.1ad tag, the outer one of QinQ.
pub const QINQ: u16 = 0x88a8;

/// Protocol numbers of the IANA registry.
pub mod protocol {
    /// ICMP
    pub const ICMP: u8 = 1;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// IPv6's extension header of fragments
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6
    pub const ICMP6: u8 = 58;
    /// SCTP
    pub const SCTP: u8 = 132;
}

/// TCP flags (RFC 9293, section 3.1).
pub mod flag {
    /// The sender is done.
    pub const FIN: u8 = 0x01;
    /// A flow begins.
    pub const SYN: u8 = 0x02;
    /// A flow is refused or cut.
    pub const RST: u8 = 0x04;
    /// The data should be handed over.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement is valid.
    pub const ACK: u8 = 0x10;
}

/// An Ethernet frame; `tags` are (type, VLAN), outermost first.
pub fn ethernet(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    for (tag, vlan) in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet's header, where it is not the plain one.
#[derive(Debug, Clone, Copy)]
pub struct V4<'a> {
    /// Who sends.
    pub from: Ipv4Addr,
    /// Who shall get it.
    pub to: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Whole 32-bit words.
    pub options: &'a [u8],
    /// Of the datagram, the same in all of its fragments.
    pub identification: u16,
    /// Flags and offset as on the wire: 0x2000 is "more fragments".
    pub fragment: u16,
}

impl<'a> V4<'a> {
    /// Without options, not a fragment.
    pub fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> Self {
        Self { from, to, protocol, options: &[], identification: 0x1234, fragment: 0 }
    }

    /// The packet (RFC 791).
    pub fn packet(self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = vec![0x40 | (header / 4) as u8, 0];
        packet.extend(((header + payload.len()) as u16).to_be_bytes());
        packet.extend(self.identification.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(self.from.octets());
        packet.extend(self.to.octets());
        packet.extend(self.options);
        let sum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// An IPv6 packet (RFC 8200); `next` is what the payload begins with.
pub fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A packet in frames of fragments that carry `size` bytes each, a multiple of eight (RFC 791, section 3.2; RFC 8200, section 4.5).
///
/// # Panics
/// The addresses are of different families.
pub fn fragments(
    macs: (Mac, Mac),
    (from, to): (IpAddr, IpAddr),
    identification: u16,
    protocol: u8,
    payload: &[u8],
    size: usize,
) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(size) - 1;
    let one = |(number, part): (usize, &[u8])| {
        let (offset, more) = (number * size / 8, u16::from(number < last));
        let (ether_type, packet) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let fragment = more << 13 | offset as u16;
                (IPV4, V4 { identification, fragment, ..V4::new(from, to, protocol) }.packet(part))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut extended = vec![protocol, 0];
                extended.extend(((offset as u16) << 3 | more).to_be_bytes());
                extended.extend(u32::from(identification).to_be_bytes());
                extended.extend(part);
                (IPV6, v6(from, to, protocol::FRAGMENT, &extended))
            }
            _ => panic!("a packet from {from} to {to}"),
        };
        ethernet(macs.0, macs.1, &[], ether_type, &packet)
    };
    payload.chunks(size).enumerate().map(one).collect()
}

/// An IPv4 or IPv6 packet in a frame, its family that of the addresses.
///
/// # Panics
/// The addresses are of different families.
pub fn packet(to_mac: Mac, from_mac: Mac, from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            ethernet(to_mac, from_mac, &[], IPV4, &V4::new(from, to, protocol).packet(payload))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            ethernet(to_mac, from_mac, &[], IPV6, &v6(from, to, protocol, payload))
        }
        _ => panic!("a packet from {from} to {to}"),
    }
}

/// One segment of TCP.
#[derive(Debug, Clone, Copy)]
pub struct Tcp {
    /// The sender's port.
    pub from: u16,
    /// The receiver's port.
    pub to: u16,
    /// Of the first byte, or of the SYN.
    pub sequence: u32,
    /// Of the next byte expected.
    pub acknowledgement: u32,
    /// See [`flag`].
    pub flags: u8,
}

impl Tcp {
    /// The first segment of a flow.
    pub fn syn(from: u16, to: u16) -> Self {
        Self { from, to, sequence: 1000, acknowledgement: 0, flags: flag::SYN }
    }

    /// Header and data with the checksum that these addresses make.
    pub fn segment(self, from: IpAddr, to: IpAddr, data: &[u8]) -> Vec<u8> {
        let mut segment = Vec::with_capacity(20 + data.len());
        segment.extend(self.from.to_be_bytes());
        segment.extend(self.to.to_be_bytes());
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(data);
        let sum = pseudo_checksum(from, to, protocol::TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }
}

/// A UDP datagram.
pub fn udp(from: IpAddr, to: IpAddr, from_port: u16, to_port: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + data.len());
    datagram.extend(from_port.to_be_bytes());
    datagram.extend(to_port.to_be_bytes());
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    let sum = pseudo_checksum(from, to, protocol::UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An echo request, ICMP or ICMPv6 as the addresses are; with its protocol number.
pub fn echo(from: IpAddr, to: IpAddr, identifier: u16) -> (u8, Vec<u8>) {
    let [high, low] = identifier.to_be_bytes();
    let kind = if from.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0, high, low, 0, 1, b'l', b'a', b'b', b'!'];
    let (number, sum) = match from {
        IpAddr::V4(_) => (protocol::ICMP, checksum(&[&message])),
        IpAddr::V6(_) => (protocol::ICMP6, pseudo_checksum(from, to, protocol::ICMP6, &message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    (number, message)
}

/// The Internet checksum (RFC 1071) over parts of even length, but for the last.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn pseudo_checksum(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = (payload.len() as u32).to_be_bytes();
    checksum(&[&octets(from), &octets(to), &length, &[0, protocol], payload])
}

/// What a frame without tags, options and extension headers carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Who sent it.
    pub from: IpAddr,
    /// For whom it is.
    pub to: IpAddr,
    /// What is inside.
    pub protocol: u8,
    /// Source and destination port, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// Of TCP, else 0.
    pub flags: u8,
}

impl Packet {
    /// Reads a frame; None where it is no IP packet, or a cut one.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(14..)?;
        let (from, to, protocol, payload): (IpAddr, IpAddr, _, _) = match u16_at(frame, 12)? {
            IPV4 => {
                let header = usize::from(packet.first()? & 15) * 4;
                let address =
                    |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
                (address(12)?.into(), address(16)?.into(), *packet.get(9)?, packet.get(header..)?)
            }
            IPV6 => {
                let address =
                    |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
                (address(8)?.into(), address(24)?.into(), *packet.get(6)?, packet.get(40..)?)
            }
            _ => return None,
        };
        let ports = match protocol {
            protocol::TCP | protocol::UDP => Some((u16_at(payload, 0)?, u16_at(payload, 2)?)),
            _ => None,
        };
        let flags = if protocol == protocol::TCP { *payload.get(13)? } else { 0 };
        Some(Self { from, to, protocol, ports, flags })
    }
}

/// Whom a frame's packet is for, whatever it carries.
pub fn destination(frame: &[u8]) -> Option<IpAddr> {
    let octets = |at: usize, length: usize| frame.get(14 + at..14 + at + length);
    match u16_at(frame, 12)? {
        IPV4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets(16, 4)?).ok()?).into()),
        IPV6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets(24, 16)?).ok()?).into()),
        _ => None,
    }
}

/// A TCP segment that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Whose, and its flags.
    pub packet: Packet,
    /// Of the first byte, or of the SYN.
    pub sequence: u32,
    /// Of the next byte expected.
    pub acknowledgement: u32,
    /// Behind the options.
    pub data: Vec<u8>,
}

impl Segment {
    /// Reads a frame; None where it is something else.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = Packet::parse(frame).filter(|packet| packet.protocol == protocol::TCP)?;
        let ip = frame.get(14..)?;
        let (start, end) = match packet.from {
            IpAddr::V4(_) => (usize::from(ip.first()? & 15) * 4, usize::from(u16_at(ip, 2)?)),
            IpAddr::V6(_) => (40, 40 + usize::from(u16_at(ip, 4)?)),
        };
        let tcp = ip.get(start..end)?;
        let word = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let data = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?.to_vec();
        Some(Self { packet, sequence: word(4)?, acknowledgement: word(8)?, data })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_example_in_rfc_1071() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        for (from, to) in [("10.0.0.1", "10.0.0.5"), ("fd00::1", "fd00::5")] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let segment = Tcp::syn(4000, 443).segment(from, to, b"");
            let frame = packet([2; 6], [4; 6], from, to, protocol::TCP, &segment);
            let expected =
                Packet { from, to, protocol: protocol::TCP, ports: Some((4000, 443)), flags: flag::SYN };
            assert_eq!(Packet::parse(&frame), Some(expected));
            let segment = Tcp::syn(4000, 443).segment(from, to, b"lab");
            let read = Segment::parse(&packet([2; 6], [4; 6], from, to, protocol::TCP, &segment)).unwrap();
            let expected =
                Segment { packet: expected, sequence: 1000, acknowledgement: 0, data: b"lab".into() };
            assert_eq!(read, expected);
        }
    }
}
