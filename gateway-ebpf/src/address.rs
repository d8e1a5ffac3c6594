//! Addresses and flows as scalars: an array moved by value would go through the BPF stack by memcpy (10 ns).

#[cfg(not(target_arch = "bpf"))]
use std::net::IpAddr;

/// An IPv4 or IPv6 address in numeric order. IPv4 has [`V4`] in front, which no IPv6 unicast address has: with the
/// mapped form, `::ffff:a.b.c.d`, an IPv6 packet from outside could pass for an IPv4 one from inside.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The first eight bytes.
    pub hi: u64,
    /// The last eight bytes.
    pub lo: u64,
}

/// [`Address::hi`] of an IPv4 address. In IPv6 it would be multicast (RFC 4291 §2.7), which is neither source nor VIP.
pub const V4: u64 = u64::MAX;

/// Spreads the first half of an address over the second, so that a multiply can hash both.
const FOLD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Address {
    /// From the number of an IPv4 address (`u32::from_be` of the wire's bytes).
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self { hi: V4, lo: address as u64 }
    }

    /// From the two numbers of an IPv6 address.
    #[inline(always)]
    pub const fn v6(hi: u64, lo: u64) -> Self {
        Self { hi, lo }
    }

    /// The slot of a perfect hash table of 4,096 slots, given the multiplier that the control plane chose for it.
    #[inline(always)]
    pub const fn slot(self, multiplier: u64) -> u32 {
        (self.lo.wrapping_add(self.hi.wrapping_mul(FOLD)).wrapping_mul(multiplier) >> 52) as u32
    }
}

#[cfg(not(target_arch = "bpf"))]
impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.into()),
            IpAddr::V6(v6) => {
                let number = u128::from(v6);
                Self { hi: (number >> 64) as u64, lo: number as u64 }
            }
        }
    }
}

/// What stays the same in all packets of a client's flow to one VIP. The VIP itself enters by the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub source: Address,
    /// The client's port and the service's, as [`ports`] packs them.
    pub ports: u32,
    /// TCP or UDP, as IANA numbers them.
    pub protocol: u8,
}

/// A client's port and a service's in one word, in the order in which the client sends them: read by one load.
#[inline(always)]
pub const fn ports(source: u16, service: u16) -> u32 {
    (source as u32) << 16 | service as u32
}

impl Flow {
    /// The service's port.
    #[inline(always)]
    pub const fn port(&self) -> u16 {
        self.ports as u16
    }

    /// A hash of the flow whose *high* bits are good: two multiplies, no loop, and no 128-bit product, which BPF lacks. The mask
    /// says what of ports and protocol counts (R80): [`FIVE_TUPLE`], [`THREE_TUPLE`] or [`SOURCE_ADDRESS`].
    #[inline(always)]
    pub const fn hash(&self, salt: u64, mask: u64) -> u64 {
        let ports = (self.ports as u64) << 8 | self.protocol as u64;
        let mut h = (self.source.lo ^ salt).wrapping_mul(0x9fb2_1c65_1e98_df25);
        h ^= h >> 32;
        (h ^ self.source.hi ^ (ports & mask) << 20).wrapping_mul(0xff51_afd7_ed55_8ccd)
    }
}

/// [`Flow::hash`]'s mask: addresses, protocol and ports.
pub const FIVE_TUPLE: u64 = u64::MAX;
/// [`Flow::hash`]'s mask: addresses and protocol.
pub const THREE_TUPLE: u64 = 0xff;
/// [`Flow::hash`]'s mask: addresses.
pub const SOURCE_ADDRESS: u64 = 0;

/// Makes all 64 bits of a hash good (MurmurHash3's finalizer).
#[inline(always)]
pub const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 32).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r14_no_ipv6_unicast_address_passes_for_an_ipv4_one() {
        for v6 in ["::ffff:10.0.0.5", "::10.0.0.5", "64:ff9b::10.0.0.5"] {
            let v4: IpAddr = "10.0.0.5".parse().unwrap();
            assert_ne!(Address::from(v4), Address::from(v6.parse::<IpAddr>().unwrap()));
        }
    }

    #[test]
    fn flows_that_differ_in_one_field_spread_evenly() {
        let flow = |n: u32| Flow {
            source: Address::v4(0x0a00_0063),
            ports: ports(1024 + n as u16, 443),
            protocol: 6,
        };
        let by_port = |n: u32| flow(n).hash(7, FIVE_TUPLE);
        let by_v4 = |n: u32| Flow { source: Address::v4(0x0a00_0000 + n), ..flow(0) }.hash(7, FIVE_TUPLE);
        let by_v4_net = |n: u32| Flow { source: Address::v4(n << 16 | 99), ..flow(0) }.hash(7, FIVE_TUPLE);
        let by_v6 =
            |n: u32| Flow { source: Address::v6(0xfd00 << 48, u64::from(n)), ..flow(0) }.hash(7, FIVE_TUPLE);
        let by_v6_net = |n: u32| {
            Flow { source: Address::v6(0xfd00 << 48 | u64::from(n), 1), ..flow(0) }.hash(7, FIVE_TUPLE)
        };
        let by_vip = |n: u32| flow(0).hash(mix(u64::from(n)), FIVE_TUPLE);
        for (name, hash) in [
            ("port", &by_port as &dyn Fn(u32) -> u64),
            ("IPv4 address", &by_v4),
            ("IPv4 network", &by_v4_net),
            ("IPv6 address", &by_v6),
            ("IPv6 network", &by_v6_net),
            ("VIP", &by_vip),
        ] {
            // 64,000 flows over 64 cells: 1,000 each; six standard deviations are 190. Buckets come from the high bits, lines
            // and tags of the transition table from the others, mixed.
            for bits in [|h: u64| h >> 58, |h: u64| mix(h) & 63, |h: u64| mix(h) >> 30 & 63] {
                let mut counts = [0u32; 64];
                (0..64_000).for_each(|n| counts[bits(hash(n)) as usize] += 1);
                assert!(counts.iter().all(|&n| (810..=1190).contains(&n)), "{name}: {counts:?}");
            }
        }
    }
}
