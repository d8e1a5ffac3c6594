//! Upstreams that fail requests are left out for a time. Pure: time is an argument.

use std::time::Duration;

use super::choose::Set;

/// So many failures in a row put an upstream out …
const IN_A_ROW: u8 = 5;
/// … for so long the first time, and twice as long each time …
const FIRST: Duration = Duration::from_secs(1);
/// … as often as this: 64 s.
const MOST_DOUBLINGS: u8 = 6;

/// What an upstream's requests have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Record {
    /// In a row. One less than it takes, for who comes back: one more puts it out again.
    failures: u8,
    /// How often it was put out lately.
    times: u8,
    /// Until when it is out, by the clock of the arguments.
    until: Duration,
}

impl Record {
    /// Nothing is held against it.
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }

    /// Whether it is left out.
    pub(super) fn is_out(self, now: Duration) -> bool {
        now < self.until
    }

    /// How long it is still out.
    pub(super) fn time_out(self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }

    /// After a failure.
    #[must_use]
    pub(super) fn failed(self, now: Duration) -> Self {
        // Requests that were on their way when it was put out say nothing new.
        if self.is_out(now) {
            return self;
        }
        let failures = self.failures + 1;
        if failures < IN_A_ROW {
            return Self { failures, ..self };
        }
        let times = self.times.min(MOST_DOUBLINGS);
        Self { failures: IN_A_ROW - 1, times: times + 1, until: now + doubled(times) }
    }

    /// After a good answer. Who has been back for as long as it was out starts anew.
    #[must_use]
    pub(super) fn succeeded(self, now: Duration) -> Self {
        if self.is_out(now) {
            return self;
        }
        let was_out = doubled(self.times.saturating_sub(1));
        match self.times > 0 && now < self.until + was_out {
            true => Self { failures: 0, ..self },
            false => Self::default(),
        }
    }

    /// As a number: 8 bits each for the counts, milliseconds of the time.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.failures)
            | u64::from(self.times) << 8
            | (u64::try_from(self.until.as_millis()).unwrap_or(u64::MAX) << 16)
    }

    /// Of [`Self::to_bits`].
    pub(super) fn from_bits(bits: u64) -> Self {
        let [failures, times, ..] = bits.to_le_bytes();
        Self { failures, times, until: Duration::from_millis(bits >> 16) }
    }
}

/// Of `count` upstreams those that are left out: half of them at most, else what is left would bear too much. Who was to come
/// back first comes back before its time.
pub(super) fn left_out(count: usize, record: impl Fn(usize) -> Record, now: Duration) -> Set {
    let mut out: Set = (0..count).filter(|number| record(*number).is_out(now)).collect();
    while out.len() as usize > count / 2 {
        let Some(first) = out.iter().min_by_key(|number| record(*number).until) else { break };
        out = out.without(Set::EMPTY.with(first));
    }
    out
}

/// For how long it is out the `times`th time after the first.
fn doubled(times: u8) -> Duration {
    FIRST * (1 << times.min(MOST_DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after_failures(mut record: Record, count: u8, now: Duration) -> Record {
        for _ in 0..count {
            record = record.failed(now);
        }
        record
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let now = 10 * SECOND;
        let record = after_failures(Record::default(), IN_A_ROW - 1, now);
        assert!(!record.is_out(now));
        let record = after_failures(record.succeeded(now), IN_A_ROW - 1, now);
        assert!(!record.is_out(now));
        assert!(record.failed(now).is_out(now));
    }

    #[test]
    fn the_time_doubles_for_who_fails_at_once_again() {
        let mut now = 10 * SECOND;
        let mut record = after_failures(Record::default(), IN_A_ROW, now);
        for expected in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(record.until - now, expected * SECOND);
            assert_eq!(record.failed(now), record, "it is known by then");
            now = record.until;
            assert!(!record.is_out(now));
            record = record.failed(now);
        }
    }

    #[test]
    fn who_has_been_back_for_as_long_as_it_was_out_starts_anew() {
        let now = 10 * SECOND;
        let second = after_failures(Record::default(), IN_A_ROW, now);
        let second = second.failed(second.until);
        assert_eq!(second.until, 13 * SECOND);
        assert!(!second.succeeded(14 * SECOND).is_clean(), "two seconds it was out, one it is back");
        let back = second.succeeded(14 * SECOND);
        assert_eq!(after_failures(back, IN_A_ROW, 14 * SECOND).until, 18 * SECOND, "four seconds now");
        assert!(second.succeeded(15 * SECOND).is_clean());
    }

    #[test]
    fn never_more_than_half_are_out_and_the_first_to_return_does() {
        let now = SECOND;
        let until = |seconds| Record { until: seconds * SECOND, ..Record::default() };
        let all_out = [until(5), until(3), until(9), until(4)];
        assert_eq!(left_out(4, |number| all_out[number], now), [0, 2].into_iter().collect());
        assert_eq!(left_out(1, |_| until(5), now), Set::EMPTY, "the only one serves");
        assert_eq!(left_out(3, |number| all_out[number], now).len(), 1);
        assert_eq!(left_out(4, |_| Record::default(), now), Set::EMPTY);
    }

    proptest! {
        #[test]
        fn bits_hold_all_of_it(failures in 0..IN_A_ROW, times: u8, until in 0..1_u64 << 48) {
            let record = Record { failures, times, until: Duration::from_millis(until) };
            prop_assert_eq!(Record::from_bits(record.to_bits()), record);
        }

        /// Whatever happens, nobody is out for longer than the longest time, and half serve.
        #[test]
        fn everybody_comes_back(events in prop::collection::vec((any::<bool>(), 0..5_000_u64), 0..200)) {
            let (mut record, mut now) = (Record::default(), Duration::ZERO);
            for (good, later) in events {
                now += Duration::from_millis(later);
                record = if good { record.succeeded(now) } else { record.failed(now) };
                prop_assert!(record.until <= now + doubled(MOST_DOUBLINGS));
                prop_assert_eq!(Record::from_bits(record.to_bits()).is_out(now), record.is_out(now));
            }
        }

        #[test]
        fn half_are_left(until in prop::collection::vec(0..100_u64, 1..=64)) {
            let record = |number: usize| Record { until: Duration::from_secs(until[number]), ..Record::default() };
            let out = left_out(until.len(), record, Duration::from_secs(50));
            prop_assert!(out.len() as usize <= until.len() / 2);
        }
    }
}
