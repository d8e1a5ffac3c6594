//! Tables' numbers and words, in people's words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gateway_ebpf::{
    address::{self, Address, V4},
    layout::{WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6, WAY_LINK, WAY_LOCAL, WAY_NAT},
    note::Settled,
};

use crate::{
    net::mac_text,
    plan::{Mac, Plan},
};

pub(super) fn ip(address: Address) -> IpAddr {
    if address.hi == V4 {
        return Ipv4Addr::from_bits(address.lo as u32).into();
    }
    Ipv6Addr::from_bits(u128::from(address.hi) << 64 | u128::from(address.lo)).into()
}

/// Nobody has number 0.
pub(super) fn instance(plan: &Plan, number: u16) -> Option<String> {
    let named = plan.numbers.iter().find(|(_, known)| **known == number);
    named.map(|(name, _)| name.to_string()).or_else(|| (number > 0).then(|| format!("number {number}")))
}

/// As in the counters: a VIP, or a port of it.
pub(super) fn scope(plan: &Plan, number: u16) -> Option<String> {
    plan.scopes.iter().find(|(_, known)| **known == number).map(|(scope, _)| scope.to_string())
}

/// `balancer.affinity`, by its mask.
pub(super) fn affinity(mask: u64) -> &'static str {
    match mask {
        address::THREE_TUPLE => "three-tuple",
        address::SOURCE_ADDRESS => "source-address",
        _ => "five-tuple",
    }
}

/// `balancer.forwarding`, by the way to an instance.
pub(super) fn way(way: u16) -> &'static str {
    match way {
        WAY_LINK => "l2",
        WAY_LOCAL => "local",
        WAY_IPIP4 | WAY_IPIP6 => "ipip",
        WAY_GUE4 | WAY_GUE6 => "gue",
        WAY_NAT => "nat",
        _ => "unknown",
    }
}

/// The next hop's, of finished Ethernet addresses.
pub(super) fn next_mac(macs: [u32; 3]) -> String {
    let [e, f, ..] = macs[1].to_ne_bytes();
    mac_text(mac(macs[0], u16::from_ne_bytes([e, f])))
}

/// As tables have it: the first four bytes, and the others.
pub(super) fn mac(first: u32, rest: u16) -> Mac {
    let ([a, b, c, d], [e, f]) = (first.to_ne_bytes(), rest.to_ne_bytes());
    [a, b, c, d, e, f]
}

/// How a packet of a moved bucket was settled.
pub(super) fn settled(how: Settled) -> (&'static str, &'static str) {
    let name = Settled::ALL.iter().find(|(known, _)| *known == how).map_or("", |(_, name)| *name);
    let why = match how {
        Settled::Claimed => "a beginning: the owner of now gets it, and it is noted",
        Settled::Noted => "it is noted, and not proved yet",
        Settled::Trusted => "it is noted",
        Settled::Refuted => "its note is another flow's: to the owner before",
        Settled::Refused => "there is no place for a note: to the owner before, which needs none",
        Settled::Previous => "not noted: to the owner before, where it must have begun",
        Settled::Current => "UDP shows no beginning: to the owner of now",
        Settled::Gone => "whom it is noted for is gone",
    };
    (name, why)
}
