//! Wire layouts, scalars only, with fields in wire order; accessors turn them into numbers.

use crate::{address::Address, frame::Pod};

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[repr(C, packed)]
        #[derive(Debug, Clone, Copy)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: integers only, packed: no padding, no invalid pattern.
        unsafe impl Pod for $name {}
    };
}

wire! {
    /// Ethernet II.
    Ethernet, 14 {
        /// The destination's first four bytes.
        destination: u32,
        /// The other two.
        destination_rest: u16,
        /// The source's first two bytes.
        source: u16,
        /// The other four.
        source_rest: u32,
        /// Big-endian.
        ethertype: u16,
    }
}

wire! {
    /// Both addresses of an Ethernet header as three words in memory order: destination, then source.
    Macs, 12 {
        /// Bytes 0 to 3.
        a: u32,
        /// Bytes 4 to 7.
        b: u32,
        /// Bytes 8 to 11.
        c: u32,
    }
}

wire! {
    /// IEEE 802.1Q tag, without the type in front of it.
    Vlan, 4 {
        /// Priority and VLAN.
        control: u16,
        /// What follows, big-endian.
        ethertype: u16,
    }
}

wire! {
    /// RFC 791 §3.1, without options.
    Ipv4, 20 {
        /// Version and header length in words.
        version_length: u8,
        /// DSCP and ECN.
        service: u8,
        /// Big-endian, header and payload.
        total_length: u16,
        /// Of the datagram.
        identification: u16,
        /// Flags and offset, big-endian.
        fragment: u16,
        /// Hops left.
        ttl: u8,
        /// Of the payload.
        protocol: u8,
        /// Of the header.
        checksum: u16,
        /// Big-endian.
        source: u32,
        /// Big-endian.
        destination: u32,
    }
}

wire! {
    /// RFC 8200 §3.
    Ipv6, 40 {
        /// Version, traffic class, flow label, big-endian.
        version_class_flow: u32,
        /// Big-endian.
        payload_length: u16,
        /// Type of what follows.
        next_header: u8,
        /// Hops left.
        hop_limit: u8,
        /// Big-endian.
        source_hi: u64,
        /// Big-endian.
        source_lo: u64,
        /// Big-endian.
        destination_hi: u64,
        /// Big-endian.
        destination_lo: u64,
    }
}

wire! {
    /// The first words of an IPv6 extension header (RFC 8200 §4); what they mean depends on its type.
    Extension, 8 {
        /// Type of what follows.
        next_header: u8,
        /// In units of eight bytes, the first not counted (an authentication header: of four, two not counted).
        length: u8,
        /// Fragment header: offset and flags, big-endian. Routing header: type, and segments left.
        third: u16,
        /// Fragment header: identification, big-endian.
        fourth: u32,
    }
}

wire! {
    /// RFC 9293 §3.1, without options.
    Tcp, 20 {
        /// Source and destination, big-endian.
        ports: u32,
        /// Big-endian.
        sequence: u32,
        /// Big-endian.
        acknowledgment: u32,
        /// High four bits: header length in words.
        offset: u8,
        /// CWR to FIN.
        flags: u8,
        /// Big-endian.
        window: u16,
        /// Of pseudo-header, header and data.
        checksum: u16,
        /// Big-endian.
        urgent: u16,
    }
}

/// [`Tcp::flags`]
pub const TCP_FIN: u8 = 0x01;
/// [`Tcp::flags`]
pub const TCP_SYN: u8 = 0x02;
/// [`Tcp::flags`]
pub const TCP_RST: u8 = 0x04;
/// [`Tcp::flags`]
pub const TCP_ACK: u8 = 0x10;

wire! {
    /// RFC 768.
    Udp, 8 {
        /// Source and destination, big-endian.
        ports: u32,
        /// Big-endian, header and data.
        length: u16,
        /// Zero over IPv4: none.
        checksum: u16,
    }
}

wire! {
    /// Generic UDP encapsulation, draft-ietf-intarea-gue-09 §3.2, variant 0 without optional fields.
    Gue, 4 {
        /// Variant, control bit, and length of optional fields in words.
        variant_length: u8,
        /// IANA's number of the payload.
        protocol: u8,
        /// None.
        flags: u16,
    }
}

wire! {
    /// What stands in [`Gue`]'s private data (draft-ietf-intarea-gue-09 §3.2) where a bucket moves: who else may have the flow.
    Hops, 36 {
        /// How many were asked already.
        next: u8,
        /// How many there are.
        count: u8,
        /// Zero.
        zero: u16,
        /// Of the ring, big-endian: [`crate::layout::Config::generation`].
        generation: u32,
        /// [`crate::layout::Hop::id`], big-endian; 0: none.
        hop0: u32,
        /// As the first.
        hop1: u32,
        /// As the first.
        hop2: u32,
        /// As the first.
        hop3: u32,
        /// As the first.
        hop4: u32,
        /// As the first.
        hop5: u32,
        /// As the first.
        hop6: u32,
    }
}

/// [`Gue`]'s port, IANA's.
pub const GUE_PORT: u16 = 6080;

wire! {
    /// RFC 792, RFC 4443 §2.1: what all messages begin with, and the word after it.
    Icmp, 8 {
        /// Message type.
        kind: u8,
        /// What of that type.
        code: u8,
        /// Of the message (ICMPv6: and pseudo-header).
        checksum: u16,
        /// Depends on the type.
        rest: u32,
    }
}

wire! {
    /// What TCP and UDP have in common, and all that an ICMP error needs to quote (RFC 792: eight bytes).
    Ports, 4 {
        /// Big-endian.
        source: u16,
        /// Big-endian.
        destination: u16,
    }
}

impl Ipv4 {
    /// Version 4 and a header length of at least five words.
    #[inline(always)]
    pub fn is_valid(&self) -> bool {
        self.version_length >> 4 == 4 && self.version_length & 15 >= 5
    }

    /// Bytes of the header, options included.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        (self.version_length & 15) as usize * 4
    }

    /// More fragments, or an offset: not a whole datagram.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        u16::from_be(self.fragment) & 0x3fff != 0
    }

    /// Where it comes from.
    #[inline(always)]
    pub fn source(&self) -> Address {
        Address::v4(u32::from_be(self.source))
    }

    /// Where it goes.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        Address::v4(u32::from_be(self.destination))
    }
}

impl Ipv6 {
    /// Bytes of the header.
    pub const LENGTH: usize = 40;

    /// Version 6.
    #[inline(always)]
    pub fn is_valid(&self) -> bool {
        u32::from_be(self.version_class_flow) >> 28 == 6
    }

    /// Where it comes from.
    #[inline(always)]
    pub fn source(&self) -> Address {
        Address::v6(u64::from_be(self.source_hi), u64::from_be(self.source_lo))
    }

    /// Where it goes.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        Address::v6(u64::from_be(self.destination_hi), u64::from_be(self.destination_lo))
    }
}
