//! The packet that is asked about, as a frame on the balancer's link.

use std::net::IpAddr;

use gateway_ebpf::checksum;
use network_types::ip::IpProto;

use super::{Error, Known, Protocol, Question, question::End};
use crate::plan::Mac;

/// What is written where no port is named: one of IANA's dynamic ports.
pub(super) const PORT: u16 = 49_152;
/// Somebody's on the link; no decision looks at it.
const CLIENT: Mac = [0x02, 0, 0, 0, 0, 0xfe];
const ETHERTYPES: [[u8; 2]; 2] = [[0x08, 0x00], [0x86, 0xdd]];
const HOPS: u8 = 64;
/// RFC 792, RFC 4443.
const ECHO: [u8; 2] = [8, 128];

/// The frame; the tables' interface becomes the one that it comes in by.
///
/// # Errors
/// There is no such packet.
pub fn build(question: &Question, known: &mut Known) -> Result<Vec<u8>, Error> {
    let interface = known.enter(question)?;
    let payload = payload(question)?;
    let Question { from, to, .. } = question;
    let protocol = number(question.protocol, from.ip);
    let mut frame = Vec::with_capacity(54 + payload.len());
    frame.extend(interface);
    frame.extend(CLIENT);
    frame.extend(ETHERTYPES[usize::from(from.ip.is_ipv6())]);
    match (from.ip, to.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = [0; 20];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            header[6] = 0x40;
            (header[8], header[9]) = (HOPS, protocol);
            header[12..16].copy_from_slice(&source.octets());
            header[16..].copy_from_slice(&destination.octets());
            let checksum = checksum::of_bytes(&header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            frame.extend(header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend((payload.len() as u16).to_be_bytes());
            frame.extend([protocol, HOPS]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => return Err(Error::Families { from: from.ip, to: to.ip }),
    }
    frame.extend(payload);
    Ok(frame)
}

/// All behind the IP header. Checksums of TCP and UDP are left out: nobody looks at them before the instance.
fn payload(question: &Question) -> Result<Vec<u8>, Error> {
    let ports = |end: End| end.port.unwrap_or(PORT).to_be_bytes();
    let header = match question.protocol {
        Protocol::Tcp => 20,
        Protocol::Udp | Protocol::Icmp => 8,
    };
    let ip = if question.from.ip.is_ipv4() { 20 } else { 40 };
    let least = header + ip;
    let length = match question.size {
        Some(size) if size < least => return Err(Error::Size { size, least }),
        Some(size) => size - ip,
        None => header,
    };
    let mut bytes = vec![0; length.into()];
    match question.protocol {
        Protocol::Tcp => {
            (bytes[12], bytes[13]) = (5 << 4, question.flags.0);
        }
        Protocol::Udp => bytes[4..6].copy_from_slice(&length.to_be_bytes()),
        Protocol::Icmp => {
            bytes[0] = ECHO[usize::from(question.from.ip.is_ipv6())];
            let checksum = checksum::of_bytes(&bytes).to_be_bytes();
            bytes[2..4].copy_from_slice(&checksum);
            return Ok(bytes);
        }
    }
    bytes[..2].copy_from_slice(&ports(question.from));
    bytes[2..4].copy_from_slice(&ports(question.to));
    Ok(bytes)
}

fn number(protocol: Protocol, ip: IpAddr) -> u8 {
    match protocol {
        Protocol::Tcp => IpProto::Tcp as u8,
        Protocol::Udp => IpProto::Udp as u8,
        Protocol::Icmp if ip.is_ipv4() => IpProto::Icmp as u8,
        Protocol::Icmp => IpProto::Ipv6Icmp as u8,
    }
}
