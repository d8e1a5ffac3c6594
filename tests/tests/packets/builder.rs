//! Frames, built from the RFCs' pictures and not from the code under test. Checksums are right, for completeness.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use network_types::ip::IpProto;

/// The balancer's interface.
pub(crate) const OURS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// A client's.
pub(crate) const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// A frame under construction: its payload first, then each layer around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    protocol: u8,
    /// What the extension headers lead to, and how many bytes they are.
    behind: Option<(u8, usize)>,
}

impl Packet {
    /// TCP without options or data.
    pub(crate) fn tcp(source: u16, destination: u16, flags: u8, sequence: u32) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(0u32.to_be_bytes());
        bytes.extend([5 << 4, flags]);
        bytes.extend(64_240u16.to_be_bytes());
        bytes.extend([0; 4]);
        Self { bytes, protocol: IpProto::Tcp as u8, behind: None }
    }

    /// UDP with some data.
    pub(crate) fn udp(source: u16, destination: u16, data: &[u8]) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend((8 + data.len() as u16).to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(data);
        Self { bytes, protocol: IpProto::Udp as u8, behind: None }
    }

    /// ICMP or ICMPv6: type, code, the word after the checksum, and the rest.
    pub(crate) fn icmp(protocol: IpProto, kind: u8, code: u8, rest: &[u8]) -> Self {
        let mut bytes = vec![kind, code, 0, 0, 0, 0, 0, 0];
        bytes.extend(rest);
        Self { bytes, protocol: protocol as u8, behind: None }
    }

    /// Any bytes as any protocol.
    pub(crate) fn raw(protocol: u8, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), protocol, behind: None }
    }

    /// A whole IP packet.
    pub(crate) fn ready(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), protocol: bytes[0] >> 4, behind: None }
    }

    /// More data behind what is there.
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend(data);
        self
    }

    /// An IPv6 extension header in front: its type, and its bytes from the second on.
    pub(crate) fn extension(self, kind: IpProto, rest: &[u8]) -> Self {
        let mut bytes = vec![self.protocol];
        bytes.extend(rest);
        bytes.extend(&self.bytes);
        let (protocol, length) = self.behind.unwrap_or((self.protocol, 0));
        Self { bytes, protocol: kind as u8, behind: Some((protocol, length + 1 + rest.len())) }
    }

    /// IP between two addresses of one family.
    pub(crate) fn ip(self, source: &str, destination: &str) -> Self {
        self.ip_with(source, destination, &[], 0)
    }

    /// IP; for IPv4 with options (whole words) and the field of flags and fragment offset.
    pub(crate) fn ip_with(self, source: &str, destination: &str, options: &[u8], fragment: u16) -> Self {
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(source, destination, options, fragment)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(source, destination, 64),
            _ => panic!("two families"),
        }
    }

    fn ipv4(self, source: Ipv4Addr, destination: Ipv4Addr, options: &[u8], fragment: u16) -> Self {
        self.ipv4_of(source, destination, options, &Fields { fragment, ..Fields::default() })
    }

    /// IPv4 with options (whole words).
    pub(crate) fn ipv4_of(
        mut self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        options: &[u8],
        fields: &Fields,
    ) -> Self {
        let mut pseudo = source.octets().to_vec();
        pseudo.extend(destination.octets());
        pseudo.extend([0, self.protocol]);
        pseudo.extend((self.bytes.len() as u16).to_be_bytes());
        self.fill_checksum(&pseudo);
        let length = 20 + options.len();
        let mut header = vec![0x40 | (length / 4) as u8, fields.service];
        header.extend(((length + self.bytes.len()) as u16).to_be_bytes());
        header.extend(fields.identification.to_be_bytes());
        header.extend(fields.fragment.to_be_bytes());
        header.extend([fields.ttl, self.protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(&self.bytes);
        Self { bytes: header, protocol: 4, behind: None }
    }

    /// IPv6 with a hop limit.
    pub(crate) fn ipv6(mut self, source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Self {
        let mut pseudo = source.octets().to_vec();
        pseudo.extend(destination.octets());
        // RFC 8200 §8.1: of the upper layer, without extension headers.
        let (protocol, length) = self.behind.unwrap_or((self.protocol, 0));
        pseudo.extend(((self.bytes.len() - length) as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        self.fill_checksum(&pseudo);
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((self.bytes.len() as u16).to_be_bytes());
        header.extend([self.protocol, hop_limit]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(&self.bytes);
        Self { bytes: header, protocol: 6, behind: None }
    }

    fn fill_checksum(&mut self, pseudo: &[u8]) {
        let (protocol, start) = self.behind.unwrap_or((self.protocol, 0));
        let bytes = &mut self.bytes[start..];
        let (place, pseudo) = match protocol {
            6 if bytes.len() >= 20 => (16, pseudo),
            17 if bytes.len() >= 8 => (6, pseudo),
            1 if bytes.len() >= 8 => (2, &[][..]),
            58 if bytes.len() >= 8 => (2, pseudo),
            _ => return,
        };
        let sum = match checksum(&[pseudo, bytes]) {
            // RFC 768: zero says that there is none.
            0 if protocol == 17 => 0xffff,
            sum => sum,
        };
        bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// The fragment of an IP packet that has these bytes of its payload (RFC 791 §3.2, RFC 8200 §4.5). IPv6: of one without
    /// extension headers.
    pub(crate) fn fragment(&self, id: u32, octets: Range<usize>) -> Self {
        let header = if self.protocol == 4 { usize::from(self.bytes[0] & 15) * 4 } else { 40 };
        let payload = &self.bytes[header..];
        let more = octets.end < payload.len();
        let offset = octets.start as u16;
        let data = &payload[octets];
        let mut bytes = self.bytes[..header].to_vec();
        if self.protocol == 4 {
            bytes[2..4].copy_from_slice(&((header + data.len()) as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&(id as u16).to_be_bytes());
            bytes[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
            bytes[10..12].fill(0);
            let sum = checksum(&[&bytes]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            bytes[4..6].copy_from_slice(&(8 + data.len() as u16).to_be_bytes());
            let next = std::mem::replace(&mut bytes[6], IpProto::Ipv6Frag as u8);
            bytes.extend([next, 0]);
            bytes.extend((offset & !7 | u16::from(more)).to_be_bytes());
            bytes.extend(id.to_be_bytes());
        }
        bytes.extend(data);
        Self { bytes, ..self.clone() }
    }

    /// Ethernet from the client to the balancer, with VLAN tags (type, VLAN) from outside in.
    pub(crate) fn ethernet(self, tags: &[(u16, u16)]) -> Vec<u8> {
        self.ethernet_to(OURS, tags)
    }

    /// Ethernet from the client to any address.
    pub(crate) fn ethernet_to(self, destination: [u8; 6], tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = destination.to_vec();
        frame.extend(CLIENT);
        for (kind, vlan) in tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(if self.protocol == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(self.bytes);
        frame
    }

    /// This IP packet as the payload of another one (RFC 2003, RFC 2473): 4 and 41 are IANA's numbers.
    pub(crate) fn in_ip(mut self) -> Self {
        if self.protocol == 6 {
            self.protocol = 41;
        }
        self
    }

    /// This IP packet behind UDP and GUE (draft-ietf-intarea-gue-09 §3.2), with private data of whole words.
    pub(crate) fn gue(self, source_port: u16, private: &[u8]) -> Self {
        let inner = self.in_ip();
        let mut bytes = vec![(private.len() / 4) as u8, inner.protocol, 0, 0];
        bytes.extend(private);
        bytes.extend(inner.bytes);
        Self::udp(source_port, 6080, &bytes)
    }

    /// With this type of service or traffic class.
    pub(crate) fn service(mut self, service: u8) -> Self {
        if self.protocol == 4 {
            self.bytes[1] = service;
            self.mend_header();
        } else {
            self.bytes[0] = 0x60 | service >> 4;
            self.bytes[1] = service << 4;
        }
        self
    }

    /// With this many hops left.
    pub(crate) fn hops(mut self, hops: u8) -> Self {
        if self.protocol == 4 {
            self.bytes[8] = hops;
            self.mend_header();
        } else {
            self.bytes[7] = hops;
        }
        self
    }

    /// With another byte at a place behind the beginning of the IP header; checksums are left as they are.
    pub(crate) fn byte(mut self, at: usize, value: u8) -> Self {
        self.bytes[at] = value;
        self
    }

    fn mend_header(&mut self) {
        self.bytes[10..12].fill(0);
        let length = usize::from(self.bytes[0] & 15) * 4;
        let sum = checksum(&[&self.bytes[..length]]);
        self.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// The IP packet alone, to be quoted in an ICMP error.
    pub(crate) fn quoted(self, octets: usize) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.truncate(octets);
        bytes
    }
}

/// Fields of an IPv4 header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) service: u8,
    pub(crate) identification: u16,
    /// Flags and offset.
    pub(crate) fragment: u16,
    pub(crate) ttl: u8,
}

impl Default for Fields {
    fn default() -> Self {
        Self { service: 0, identification: 0x1234, fragment: 0, ttl: 64 }
    }
}

/// A built frame on the way from the balancer to the client.
pub(crate) fn sent_back(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].rotate_left(6);
    frame
}

/// The same frame on its way to an instance: other MACs, nothing else.
pub(crate) fn forwarded(frame: &[u8], to: [u8; 6]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&OURS);
    frame
}

/// The same frame a hop later, without VLAN tags: the IPv4 header's checksum computed anew.
pub(crate) fn aged(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [0x86, 0xdd] {
        frame[14 + 7] -= 1;
        return frame;
    }
    frame[14 + 8] -= 1;
    frame[14 + 10..14 + 12].fill(0);
    let end = 14 + usize::from(frame[14] & 15) * 4;
    let sum = checksum(&[&frame[14..end]]);
    frame[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// RFC 1071.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
