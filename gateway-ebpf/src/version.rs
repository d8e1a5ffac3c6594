//! What an answer of the balancer looks like over IPv4, and over IPv6.

use network_types::ip::IpProto;

use crate::{
    checksum,
    encapsulate::{DONT_FRAGMENT, HOPS},
    headers::{Icmp, Ipv4, Ipv6},
    parse::IpHeader,
};

/// How an IP version answers.
pub trait Version: IpHeader {
    /// Bytes of a header without options.
    const BYTES: usize;
    /// Its ICMP.
    const ICMP: IpProto;
    /// Type of an echo reply, and of the request.
    const ECHO: (u8, u8);
    /// Type and code of "hop limit exceeded in transit".
    const HOP_LIMIT: (u8, u8);
    /// Type and code of "too big".
    const TOO_BIG: (u8, u8);
    /// The smallest MTU that may be told.
    const LEAST_MTU: u16;
    /// How much of a packet an error quotes at most: as much as fits into 576 bytes (RFC 1812 §4.3.2.3) or into IPv6's
    /// least MTU (RFC 4443 §2.4c).
    const QUOTE: usize;

    /// The header back to the sender, for `length` bytes.
    fn answer(&self, protocol: IpProto, length: usize) -> Self;

    /// The header of an echo request as its reply has it.
    fn turned(&self) -> Self;

    /// What fragmentation the packet has seen or may see.
    fn cut(&self) -> Cut;
}

/// What fragmentation a packet has seen or may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// No router cuts it, so its sender has to know what fits.
    Never,
    /// A router may cut it, so its sender expects no word of its size.
    May,
    /// It is a later piece of a cut one, about which nothing is said (RFC 1122 §3.2.2).
    Later,
}

impl Version for Ipv4 {
    const BYTES: usize = size_of::<Self>();
    const ICMP: IpProto = IpProto::Icmp;
    const ECHO: (u8, u8) = (0, 8);
    const HOP_LIMIT: (u8, u8) = (11, 0);
    const TOO_BIG: (u8, u8) = (3, 4);
    const LEAST_MTU: u16 = 68;
    const QUOTE: usize = 576 - Self::BYTES - size_of::<Icmp>();

    #[inline(always)]
    fn answer(&self, protocol: IpProto, length: usize) -> Self {
        // RFC 1812 §4.3.2.5: the precedence of internetwork control.
        const SERVICE: u8 = 0xc0;
        let total = (Self::BYTES + length) as u16;
        let sum = (0x4500 | u64::from(SERVICE))
            + u64::from(total)
            + u64::from(DONT_FRAGMENT)
            + (u64::from(HOPS) << 8 | protocol as u64)
            + checksum::of_address(self.source())
            + checksum::of_address(self.destination());
        Self {
            version_length: 0x45,
            service: SERVICE,
            total_length: total.to_be(),
            identification: 0,
            fragment: DONT_FRAGMENT.to_be(),
            ttl: HOPS,
            protocol: protocol as u8,
            checksum: (!checksum::fold(sum)).to_be(),
            source: self.destination,
            destination: self.source,
        }
    }

    #[inline(always)]
    fn turned(&self) -> Self {
        let word = |ttl| u16::from(ttl) << 8 | u16::from(self.protocol);
        let checksum = checksum::update(u16::from_be(self.checksum), word(self.ttl), word(HOPS));
        Self {
            ttl: HOPS,
            checksum: checksum.to_be(),
            source: self.destination,
            destination: self.source,
            ..*self
        }
    }

    #[inline(always)]
    fn cut(&self) -> Cut {
        const OFFSET: u16 = 0x1fff;
        let fragment = u16::from_be(self.fragment);
        if fragment & OFFSET != 0 {
            Cut::Later
        } else if fragment & DONT_FRAGMENT != 0 {
            Cut::Never
        } else {
            Cut::May
        }
    }
}

impl Version for Ipv6 {
    const BYTES: usize = Self::LENGTH;
    const ICMP: IpProto = IpProto::Ipv6Icmp;
    const ECHO: (u8, u8) = (129, 128);
    const HOP_LIMIT: (u8, u8) = (3, 0);
    const TOO_BIG: (u8, u8) = (2, 0);
    // RFC 8201 §4: a smaller one is not believed. Where less fits, larger packets are lost.
    const LEAST_MTU: u16 = 1280;
    const QUOTE: usize = 1280 - Self::BYTES - size_of::<Icmp>();

    #[inline(always)]
    fn answer(&self, protocol: IpProto, length: usize) -> Self {
        Self {
            version_class_flow: (6u32 << 28).to_be(),
            payload_length: (length as u16).to_be(),
            next_header: protocol as u8,
            hop_limit: HOPS,
            source_hi: self.destination_hi,
            source_lo: self.destination_lo,
            destination_hi: self.source_hi,
            destination_lo: self.source_lo,
        }
    }

    #[inline(always)]
    fn turned(&self) -> Self {
        Self {
            hop_limit: HOPS,
            source_hi: self.destination_hi,
            source_lo: self.destination_lo,
            destination_hi: self.source_hi,
            destination_lo: self.source_lo,
            ..*self
        }
    }

    #[inline(always)]
    fn cut(&self) -> Cut {
        Cut::Never
    }
}
