//! Guessing tokens is slow: who fails too often is not heard for a while.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// So many wrong tokens in a row …
const ALLOWED: u32 = 10;
/// … and then none is looked at for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// Sources that are remembered; beyond, all others count as one.
const SOURCES: usize = 1_024;

/// Failed authentications by source. Pure: time is an argument.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_source: HashMap<IpAddr, (u32, Instant)>,
    others: Option<(u32, Instant)>,
}

impl Failures {
    /// Whether a token from there is looked at.
    pub(super) fn allows(&mut self, source: IpAddr, now: Instant) -> bool {
        let fresh = |&(_, last): &(u32, Instant)| now.saturating_duration_since(last) < PAUSE;
        self.by_source.retain(|_, entry| fresh(entry));
        self.others = self.others.filter(fresh);
        let entry = self.by_source.get(&prefix(source));
        let full = self.by_source.len() >= SOURCES;
        let entry = entry.or(self.others.as_ref().filter(|_| full));
        entry.is_none_or(|(failures, _)| *failures < ALLOWED)
    }

    /// Another wrong one.
    pub(super) fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = prefix(source);
        let entry = if self.by_source.contains_key(&source) || self.by_source.len() < SOURCES {
            self.by_source.entry(source).or_insert((0, now))
        } else {
            self.others.get_or_insert((0, now))
        };
        *entry = (entry.0.saturating_add(1), now);
    }
}

/// An IPv6 host has its whole /64 to come from.
fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_is_not_heard_for_a_while_and_others_are() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let (bad, neighbour, good) =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|ip| ip.parse().unwrap()).into();
        for _ in 0..ALLOWED {
            assert!(failures.allows(bad, now));
            failures.failed(bad, now);
        }
        assert!(!failures.allows(bad, now));
        assert!(!failures.allows(neighbour, now), "the same network");
        assert!(failures.allows(good, now));
        assert!(failures.allows(bad, now + PAUSE));
    }

    #[test]
    fn many_sources_take_no_more_room_than_that() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for number in 0..SOURCES as u32 + ALLOWED {
            failures.failed(IpAddr::V4(number.into()), now);
        }
        assert_eq!(failures.by_source.len(), SOURCES);
        assert!(!failures.allows("203.0.113.1".parse().unwrap(), now), "one of the others");
    }
}
