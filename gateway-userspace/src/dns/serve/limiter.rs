//! How many questions a second a source may ask.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Sources that are known at once. Where there are more, those that are within their rate are forgotten.
const MOST: usize = 65_536;
/// What a source may ask at once, in time of its rate.
const BURST: Duration = Duration::from_secs(1);

/// By source, when what it has asked is worn off at its rate.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<Option<IpAddr>, Instant>>);

impl Limiter {
    /// Whether one more question of this source, at this rate a second, is answered. None is all who are outside.
    pub(super) fn take(&self, source: Option<IpAddr>, rate: u32, now: Instant) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = source.map(prefix);
        if known.len() >= MOST && !known.contains_key(&source) {
            known.retain(|_, until| *until > now);
            // Nobody is turned away for want of memory: sources inside are not that many, and those outside are one.
            if known.len() >= MOST {
                return true;
            }
        }
        let until = known.entry(source).or_insert(now);
        let next = (*until).max(now) + Duration::from_secs(1) / rate.max(1);
        let may = next <= now + BURST;
        if may {
            *until = next;
        }
        may
    }
}

/// A site gets an IPv6 /64 at least, so one host may have any address in it.
fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_rate_after_a_burst_of_a_second() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        let source = Some("10.0.0.99".parse().unwrap());
        let taken = |count: u32, at: Instant| (0..count).filter(|_| limiter.take(source, 50, at)).count();
        assert_eq!(taken(200, start), 50);
        assert_eq!(taken(200, start + Duration::from_millis(200)), 10);
        assert_eq!(taken(200, start + Duration::from_secs(60)), 50);
        assert!(limiter.take(Some("10.0.0.98".parse().unwrap()), 50, start), "another source");
        assert!(limiter.take(None, 50, start), "and those outside");
    }

    #[test]
    fn hosts_of_one_ipv6_prefix_share_its_rate() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let taken = (0..100).filter(|n| {
            let source = Ipv6Addr::from_bits((0xfd00 << 112) | *n as u128);
            limiter.take(Some(source.into()), 10, now)
        });
        assert_eq!(taken.count(), 10);
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_turned_away_for_it() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for n in 0..MOST as u32 + 10 {
            assert!(limiter.take(Some(std::net::Ipv4Addr::from_bits(n).into()), 1, now));
        }
        assert_eq!(limiter.0.lock().unwrap().len(), MOST);
        assert!(limiter.take(Some("10.9.9.9".parse().unwrap()), 1, now + Duration::from_secs(5)));
        assert_eq!(limiter.0.lock().unwrap().len(), 1, "those within their rate are forgotten");
    }
}
