//! Source prefixes as the sorted bounds that the kernel searches.

use std::{collections::BTreeMap, net::IpAddr};

use gateway_ebpf::layout::{BOUNDS, SourceSet};
use ipnet::IpNet;

use super::Error;
use crate::model::Model;

/// Number 0: everyone.
pub(super) const EVERYONE: u16 = 0;

/// Which set admits to what.
pub(super) struct Sources {
    pub(super) sets: BTreeMap<u16, SourceSet>,
    /// To private VIPs (R2, R14).
    pub(super) inside: u16,
    /// To the public VIP's management port (R20f).
    pub(super) management: u16,
}

pub(super) fn sets(model: &Model) -> Result<Sources, Error> {
    const INSIDE: u16 = 1;
    const MANAGEMENT: u16 = 2;
    let mut sets = BTreeMap::from([(INSIDE, set(model.network.inside())?)]);
    let management = match model.balancer.management_sources.as_slice() {
        [] => EVERYONE,
        prefixes => {
            sets.insert(MANAGEMENT, set(prefixes.iter().copied())?);
            MANAGEMENT
        }
    };
    Ok(Sources { sets, inside: INSIDE, management })
}

pub(super) fn set(prefixes: impl Iterator<Item = IpNet>) -> Result<SourceSet, Error> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        let (first, last) = (prefix.network(), prefix.broadcast());
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.push((u32::from(first).into(), u32::from(last).into()));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.into(), last.into())),
            _ => {}
        }
    }
    let (v4, v6) = (bounds(v4), bounds(v6));
    // The search finds one bound less than there are places.
    if v4.len().max(v6.len()) >= BOUNDS {
        return Err(Error::Prefixes { limit: BOUNDS / 2 - 1 });
    }
    let half = |bounds: &[u128]| (bounds.len() as u32 + 1).next_power_of_two() / 2;
    let mut set = SourceSet { v4_half: half(&v4), v6_half: half(&v6), ..SourceSet::default() };
    for (place, bound) in set.v4.iter_mut().zip(v4) {
        *place = bound as u64;
    }
    for (i, bound) in v6.into_iter().enumerate() {
        set.v6_hi[i] = (bound >> 64) as u64;
        set.v6_lo[i] = bound as u64;
    }
    Ok(set)
}

/// Closed ranges, in any order and overlapping, as the sorted bounds of disjoint half-open ones.
fn bounds(mut ranges: Vec<(u128, u128)>) -> Vec<u128> {
    ranges.sort_unstable();
    let mut bounds: Vec<u128> = Vec::new();
    for (first, last) in ranges {
        // The end of the whole IPv6 space has no number; no source is there either (ff00::/8).
        let end = last.saturating_add(1);
        match bounds.last_mut() {
            Some(previous) if first <= *previous => *previous = end.max(*previous),
            _ => bounds.extend([first, end]),
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::{address::Address, admit::contains};
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = IpNet> {
        // Few distinct high bits, so that prefixes meet.
        let v4 = (0u32..8, 0u8..=32)
            .prop_map(|(n, len)| IpNet::new(IpAddr::V4((n << 28 | n << 3).into()), len).unwrap().trunc());
        let v6 = (0u128..8, 0u8..=128).prop_map(|(n, len)| {
            IpNet::new(IpAddr::V6((n << 120 | n << 60 | n).into()), len).unwrap().trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_set_contains_what_its_prefixes_contain(prefixes in prop::collection::vec(prefix(), 0..30)) {
            let built = set(prefixes.iter().copied()).unwrap();
            let edges = prefixes.iter().flat_map(|p| {
                let beside = |a: IpAddr| match a {
                    IpAddr::V4(a) => [u32::from(a).wrapping_sub(1), a.into(), u32::from(a).wrapping_add(1)].map(|n| IpAddr::V4(n.into())),
                    IpAddr::V6(a) => [u128::from(a).wrapping_sub(1), a.into(), u128::from(a).wrapping_add(1)].map(|n| IpAddr::V6(n.into())),
                };
                beside(p.network()).into_iter().chain(beside(p.broadcast()))
            });
            for address in edges.filter(|a| !a.is_multicast()) {
                let expected = prefixes.iter().any(|p| p.contains(&address));
                prop_assert_eq!(contains(&built, Address::from(address)), expected, "{} in {:?}", address, prefixes);
            }
        }
    }

    #[test]
    fn more_ranges_than_fit_are_refused() {
        let prefixes = |count: u32| (0..count).map(|n| IpNet::new(IpAddr::V4((n << 8).into()), 25).unwrap());
        assert!(set(prefixes(127)).is_ok());
        assert_eq!(set(prefixes(128)), Err(Error::Prefixes { limit: 127 }));
    }

    #[test]
    fn r14_a_set_without_ipv6_prefixes_admits_no_ipv6_source() {
        let built = set(["10.0.0.0/8".parse().unwrap()].into_iter()).unwrap();
        assert!(contains(&built, Address::from("10.255.255.255".parse::<IpAddr>().unwrap())));
        for outside in ["11.0.0.0", "9.255.255.255", "fd00::1", "::", "::ffff:10.0.0.9"] {
            assert!(!contains(&built, Address::from(outside.parse::<IpAddr>().unwrap())), "{outside}");
        }
    }
}
