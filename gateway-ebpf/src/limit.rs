//! How often this host answers by itself, so that nobody can make it shout at others (RFC 1812 §4.3.2.8, RFC 4443 §2.4f).
//!
//! A token bucket is one word: the time at which it will be full again. Each kind of answer has one for all sources together
//! and a row of others, of which a source's prefix has one by a salted hash: so one network cannot use up what is for all.
//! Every CPU has its own; nothing is locked.

use crate::{
    address::{Address, V4, mix},
    tables::{Limit, Tables},
};

/// Buckets of one kind for prefixes, a power of two. Prefixes that share one share what it allows.
pub const PREFIXES: u32 = 1024;
/// All buckets of one CPU: by kind, first the one for all, then those of prefixes.
pub const BUCKETS: u32 = KINDS * ROW;
const KINDS: u32 = 3;
const ROW: u32 = PREFIXES + 1;

/// What a token bucket allows.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Nanoseconds for a token.
    interval: u64,
    /// Tokens at most; more than come between two ticks of the kernel's coarse clock, 10 ms at most.
    burst: u64,
}

const fn rate(per_second: u64, burst: u64) -> Rate {
    Rate { interval: 1_000_000_000 / per_second, burst }
}

/// For all sources, and for one prefix.
#[inline(always)]
const fn rates(limit: Limit) -> (Rate, Rate) {
    match limit {
        Limit::Echo => (rate(1000, 100), rate(100, 50)),
        Limit::Error => (rate(100, 50), rate(20, 10)),
        Limit::Reset => (rate(1000, 100), rate(200, 50)),
    }
}

/// Takes a token for an answer to this source, unless there is none.
#[inline(always)]
pub fn admits<T: Tables>(tables: &T, limit: Limit, source: Address, salt: u64) -> bool {
    let (of_all, of_prefix) = rates(limit);
    let first = limit as u32 * ROW;
    let Some(all) = tables.allowance(first) else { return false };
    let Some(own) = tables.allowance(first + 1 + place(source, salt)) else { return false };
    let now = tables.now();
    // A prefix that has no tokens left takes none of the others'.
    let Some(own_then) = take(own.load(), now, of_prefix) else { return false };
    let Some(all_then) = take(all.load(), now, of_all) else { return false };
    own.store(own_then);
    all.store(all_then);
    true
}

/// Which bucket a source has: by its /24, or /56 of IPv6, which is what one site gets (RFC 6177).
#[inline(always)]
const fn place(source: Address, salt: u64) -> u32 {
    let prefix = if source.hi == V4 { source.lo >> 8 | 1 << 63 } else { source.hi >> 8 };
    let hash = mix((prefix ^ salt).wrapping_mul(0x9fb2_1c65_1e98_df25));
    hash as u32 & (PREFIXES - 1)
}

/// One token at a time in nanoseconds: the bucket's next word, or `None` where it is empty. A new bucket, 0, is full.
#[inline(always)]
const fn take(full_at: u64, now: u64, rate: Rate) -> Option<u64> {
    let full_at = if full_at > now { full_at } else { now };
    if full_at - now > rate.interval * (rate.burst - 1) { None } else { Some(full_at + rate.interval) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostTables;

    const SECOND: u64 = 1_000_000_000;

    /// How many of `tries` are answered at one moment.
    fn at_once(tables: &HostTables, limit: Limit, source: Address, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(admits(tables, limit, source, 7))).sum()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let slow = rate(10, 3);
        let mut word = 0;
        let mut given = |now| match take(word, now, slow) {
            Some(next) => {
                word = next;
                true
            }
            None => false,
        };
        assert_eq!([5, 5, 5, 5].map(&mut given), [true, true, true, false]);
        assert!(!given(5 + SECOND / 10 - 1));
        assert!(given(5 + SECOND / 10) && !given(5 + SECOND / 10));
        // Idle for long, it is full and not more than full.
        assert_eq!([9 * SECOND; 4].map(&mut given), [true, true, true, false]);
    }

    #[test]
    fn one_prefix_gets_its_share_and_leaves_the_others_theirs() {
        let mut tables = HostTables { now: SECOND, ..HostTables::default() };
        let source = |network: u32, host: u32| Address::v4(0x0a00_0000 | network << 8 | host);
        let answered: u32 = (1..=250).map(|host| at_once(&tables, Limit::Error, source(1, host), 4)).sum();
        assert_eq!(answered, 10, "a /24 is one source");
        assert_eq!(at_once(&tables, Limit::Error, source(2, 1), 100), 10, "another has its own");
        assert_eq!(at_once(&tables, Limit::Echo, source(1, 1), 100), 50, "and so has another kind");
        // Any number of prefixes together get what is for all.
        let answered: u32 =
            (3..1000).map(|network| at_once(&tables, Limit::Error, source(network, 1), 1)).sum();
        assert_eq!(answered, 50 - 20);
        let mut later = 0;
        for _ in 0..1000 {
            tables.now += SECOND / 100;
            later += (0..100).map(|n| at_once(&tables, Limit::Error, source(n, 1), 1)).sum::<u32>();
        }
        assert_eq!(later, 1000, "100 a second for 10 s");
    }

    #[test]
    fn an_ipv6_site_is_one_source() {
        let tables = HostTables { now: SECOND, ..HostTables::default() };
        let source = |hi: u64, lo| Address::v6(0x2001_0db8_0000_0000 | hi, lo);
        let of_site: u32 =
            (0..256).map(|subnet| at_once(&tables, Limit::Reset, source(subnet, subnet), 1)).sum();
        assert_eq!(of_site, 50);
        assert_eq!(at_once(&tables, Limit::Reset, source(0x100, 1), 100), 50, "the next /56");
    }

    #[test]
    fn prefixes_spread_and_the_salt_moves_them() {
        let mut counts = vec![0u32; PREFIXES as usize];
        (0..64 * PREFIXES).for_each(|n| counts[place(Address::v4(n << 8), 7) as usize] += 1);
        // 64 each; seven standard deviations are 56.
        assert!(counts.iter().all(|&n| (8..=120).contains(&n)), "{counts:?}");
        let moved =
            (0..100).filter(|&n| place(Address::v4(n << 8), 7) != place(Address::v4(n << 8), 8)).count();
        assert!(moved > 90, "{moved}");
    }
}
