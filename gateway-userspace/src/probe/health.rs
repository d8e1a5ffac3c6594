//! Whether an instance is healthy: results in a row, counted. Pure: time is an argument.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::failure::Presence;
use crate::model::Probe;

/// How often the rise time of an instance that flaps is doubled, at most: to 32 times.
const MOST_DOUBLINGS: u8 = 5;

/// What the probes say of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Too few results yet.
    Unknown,
    /// As many good answers in a row as it takes, and since then never enough bad ones.
    Up,
    /// The other way about.
    Down,
}

/// An instance's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    verdict: Verdict,
    since: Instant,
    /// Good answers in a row, up to now.
    good: u32,
    /// Bad ones, of whatever kind.
    bad: u32,
    /// Those of the bad ones in a row at which nobody answered.
    absent: u32,
    /// How often the rise time is doubled.
    doublings: u8,
    /// When it came back, if it is up again.
    rose: Option<Instant>,
}

impl Health {
    /// Of an instance that was not probed before.
    pub fn new(now: Instant) -> Self {
        Self { verdict: Verdict::Unknown, since: now, good: 0, bad: 0, absent: 0, doublings: 0, rose: None }
    }

    /// As it was found by a process that ran before this one. The count of results begins anew.
    pub fn found(verdict: Verdict, since: Instant, doublings: u8, presence: Presence, probe: &Probe) -> Self {
        let rose = (verdict == Verdict::Up && doublings > 0).then_some(since);
        let absent = if presence == Presence::Nobody { probe.fall.into() } else { 0 };
        Self { verdict, since, good: 0, bad: 0, absent, doublings: doublings.min(MOST_DOUBLINGS), rose }
    }

    /// Takes up a probe's result. The new verdict, where it is another one.
    pub fn observe(&mut self, result: Result<(), Presence>, probe: &Probe, now: Instant) -> Option<Verdict> {
        match result {
            Ok(()) => (self.good, self.bad, self.absent) = (self.good.saturating_add(1), 0, 0),
            Err(presence) => {
                let absent = if presence == Presence::Nobody { self.absent.saturating_add(1) } else { 0 };
                (self.good, self.bad, self.absent) = (0, self.bad.saturating_add(1), absent);
            }
        }
        if self.verdict != Verdict::Up && self.good >= self.rise(probe) {
            self.rose = (self.verdict == Verdict::Down).then_some(now);
            return Some(self.becomes(Verdict::Up, now));
        }
        if self.verdict != Verdict::Down && self.bad >= u32::from(probe.fall) {
            self.doublings = match self.is_forgiven(probe, now) {
                true => 0,
                false => MOST_DOUBLINGS.min(self.doublings + 1),
            };
            return Some(self.becomes(Verdict::Down, now));
        }
        None
    }

    fn becomes(&mut self, verdict: Verdict, now: Instant) -> Verdict {
        (self.verdict, self.since) = (verdict, now);
        verdict
    }

    /// It did not come back, or did so longer ago than two of the longest rise times.
    fn is_forgiven(&self, probe: &Probe, now: Instant) -> bool {
        let quiet = probe.interval * u32::from(probe.rise) * (2 << MOST_DOUBLINGS);
        self.rose.is_none_or(|rose| now.saturating_duration_since(rose) >= quiet)
    }

    /// How many good answers in a row it takes now to be up: `probe.rise`, doubled with each fall that follows a rise too
    /// soon.
    pub fn rise(&self, probe: &Probe) -> u32 {
        u32::from(probe.rise) << self.doublings
    }

    /// See [`Verdict`].
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Since when the verdict stands.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long the verdict has stood.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How often the rise time is doubled, because it flaps.
    pub fn doublings(&self) -> u8 {
        self.doublings
    }

    /// It is down, and as many probes in a row as that takes met nobody at its address.
    pub fn is_gone(&self, probe: &Probe) -> bool {
        self.verdict == Verdict::Down && self.absent >= u32::from(probe.fall)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: Result<(), Presence> = Ok(());
    const REFUSED: Result<(), Presence> = Err(Presence::Somebody);
    const SILENT: Result<(), Presence> = Err(Presence::Nobody);

    /// An instance and the clock of its probes.
    struct Probed {
        health: Health,
        probe: Probe,
        now: Instant,
    }

    impl Probed {
        fn new() -> Self {
            let now = Instant::now();
            Self { health: Health::new(now), probe: Probe { rise: 2, fall: 3, ..Probe::default() }, now }
        }

        /// The verdicts that these results lead to, each an interval after the last.
        fn after(&mut self, results: &[Result<(), Presence>]) -> Vec<Verdict> {
            let mut verdicts = Vec::new();
            for result in results {
                self.now += self.probe.interval;
                verdicts.extend(self.health.observe(*result, &self.probe, self.now));
            }
            verdicts
        }

        /// How many good answers it takes until it is up.
        fn rises_after(&mut self) -> u32 {
            (1..=1_000).find(|_| self.after(&[GOOD]) == [Verdict::Up]).unwrap()
        }
    }

    #[test]
    fn r81_only_results_in_a_row_count() {
        let mut one = Probed::new();
        assert_eq!(one.after(&[GOOD, REFUSED, GOOD]), []);
        assert_eq!(one.after(&[GOOD]), [Verdict::Up]);
        assert_eq!(one.after(&[REFUSED, REFUSED, GOOD, REFUSED, REFUSED]), []);
        assert_eq!(one.after(&[REFUSED, REFUSED]), [Verdict::Down], "it is said once");
        assert_eq!(one.after(&[GOOD, REFUSED, GOOD]), []);
        assert_eq!(one.after(&[GOOD]), [Verdict::Up]);
    }

    #[test]
    fn the_first_verdict_takes_as_many_results_as_any() {
        let mut one = Probed::new();
        assert_eq!((one.after(&[SILENT, SILENT]), one.health.verdict()), (vec![], Verdict::Unknown));
        assert_eq!(one.after(&[SILENT]), [Verdict::Down]);
        assert_eq!(one.health.doublings(), 0, "who was never up does not flap");
    }

    #[test]
    fn the_rise_time_doubles_for_who_flaps_up_to_a_limit_and_is_forgiven() {
        let mut one = Probed::new();
        let mut rises = Vec::new();
        for _ in 0..8 {
            rises.push(one.rises_after());
            one.after(&[REFUSED; 3]);
        }
        assert_eq!(rises, [2, 2, 4, 8, 16, 32, 64, 64], "the first time down is not yet flapping");
        one.rises_after();
        one.now += one.probe.interval * 128;
        one.after(&[REFUSED; 3]);
        assert_eq!(one.rises_after(), 2, "after a quiet time");
    }

    #[test]
    fn r82_gone_is_who_was_met_by_nobody_as_often_as_it_takes_to_be_down() {
        let mut one = Probed::new();
        let mut gone = |results: &[_]| {
            one.after(results);
            one.health.is_gone(&one.probe)
        };
        assert!(!gone(&[GOOD, GOOD, SILENT, SILENT, REFUSED]), "somebody refused");
        assert!(!gone(&[SILENT, SILENT]));
        assert!(gone(&[SILENT]), "its host died after its proxy");
        assert!(!gone(&[REFUSED]), "the host is back");
        assert!(gone(&[SILENT; 3]));
        assert!(!gone(&[GOOD]));
    }

    #[test]
    fn what_was_found_is_held_until_results_say_otherwise() {
        let mut one = Probed::new();
        one.health = Health::found(Verdict::Down, one.now, 1, Presence::Nobody, &one.probe);
        assert!(one.health.is_gone(&one.probe));
        assert_eq!(one.rises_after(), 4);
    }

    proptest! {
        /// The verdict follows from the results alone: written down the simplest way, it is the same.
        #[test]
        fn r81_it_agrees_with_a_count_by_hand(good in prop::collection::vec(any::<bool>(), 1..200)) {
            let mut one = Probed::new();
            one.probe.interval = Duration::from_secs(3_600);
            let calm = 128;
            for (at, _) in good.iter().enumerate() {
                // So far apart that nobody flaps.
                one.now += one.probe.interval * calm;
                one.after(&[if good[at] { GOOD } else { REFUSED }]);
                let run = |word: bool, length: usize| {
                    good[..=at].windows(length).rposition(|window| window.iter().all(|g| *g == word))
                        .map(|place| place + length)
                };
                let expected = match (run(true, 2), run(false, 3)) {
                    (None, None) => Verdict::Unknown,
                    (up, down) if up > down => Verdict::Up,
                    _ => Verdict::Down,
                };
                prop_assert_eq!(one.health.verdict(), expected);
            }
        }

        /// However it flaps, it may come back after a time that is bounded.
        #[test]
        fn who_flaps_can_always_come_back(results in prop::collection::vec(any::<bool>(), 0..300)) {
            let mut one = Probed::new();
            for good in results {
                one.after(&[if good { GOOD } else { SILENT }]);
            }
            if one.health.verdict() != Verdict::Up {
                prop_assert!(one.rises_after() <= 64);
            }
        }
    }
}
