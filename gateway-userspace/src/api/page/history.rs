//! The last five minutes of the counters, for plots. Pure: time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::dataplane::Counters;

/// Between two samples.
pub(super) const PACE: Duration = Duration::from_secs(5);
/// Steps that are shown.
pub(super) const STEPS: usize = 60;

/// What was counted until then, all services together.
#[derive(Debug, Clone, Default)]
struct Sample {
    packets: u64,
    bytes: u64,
    syns: u64,
    drops: BTreeMap<String, u64>,
}

/// The samples, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct History(VecDeque<(Instant, Sample)>);

/// Rates by time, a second's worth each, the latest last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) packets: Vec<f64>,
    pub(super) bits: Vec<f64>,
    pub(super) syns: Vec<f64>,
    pub(super) drops: Vec<f64>,
    /// By reason; those that occurred in that time.
    pub(super) reasons: BTreeMap<String, Vec<f64>>,
}

impl History {
    /// Takes down what is counted now.
    pub(super) fn note(&mut self, counters: &Counters, now: Instant) {
        let sum = |field: fn(&crate::dataplane::Forwarded) -> u64| counters.services.iter().map(field).sum();
        let mut drops = BTreeMap::new();
        for one in &counters.drops {
            *drops.entry(one.reason.to_string()).or_default() += one.packets;
        }
        let sample = Sample {
            packets: sum(|one| one.packets),
            bytes: sum(|one| one.bytes),
            syns: sum(|one| one.syns),
            drops,
        };
        if self.0.len() > STEPS {
            self.0.pop_front();
        }
        self.0.push_back((now, sample));
    }

    /// Where a counter went back, after a start from nothing, nothing is said to have come.
    pub(super) fn rates(&self) -> Rates {
        let steps = |count: &dyn Fn(&Sample) -> u64| {
            let pairs = self.0.iter().zip(self.0.iter().skip(1));
            let rate = |((from, before), (to, after)): (&(Instant, Sample), &(Instant, Sample))| {
                let seconds = to.saturating_duration_since(*from).as_secs_f64();
                let more = count(after).saturating_sub(count(before)) as f64;
                if seconds > 0.0 { more / seconds } else { 0.0 }
            };
            pairs.map(rate).collect::<Vec<_>>()
        };
        let names = self.0.back().map(|(_, sample)| sample.drops.keys());
        let reason = |name: &String| steps(&|sample| sample.drops.get(name).copied().unwrap_or(0));
        let reasons = names.into_iter().flatten().map(|name| (name.clone(), reason(name)));
        Rates {
            packets: steps(&|sample| sample.packets),
            bits: steps(&|sample| sample.bytes * 8),
            syns: steps(&|sample| sample.syns),
            drops: steps(&|sample| sample.drops.values().sum()),
            reasons: reasons.filter(|(_, rates)| rates.iter().any(|rate| *rate > 0.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Forwarded;

    fn counted(packets: u64) -> Counters {
        let name = "10.0.0.5:443".into();
        Counters {
            services: vec![Forwarded { name, packets, bytes: 100 * packets, syns: packets / 10 }],
            ..Counters::default()
        }
    }

    #[test]
    fn r60_a_rate_is_what_came_between_two_samples_by_the_time_between_them() {
        let (mut history, start) = (History::default(), Instant::now());
        assert_eq!(history.rates(), Rates::default());
        for (after, packets) in [(0, 1000), (5, 1500), (15, 1600), (20, 100)] {
            history.note(&counted(packets), start + Duration::from_secs(after));
        }
        let rates = history.rates();
        assert_eq!(rates.packets, [100.0, 10.0, 0.0]);
        assert_eq!((rates.bits[0], rates.syns[0]), (80_000.0, 10.0));
    }

    #[test]
    fn only_so_many_are_kept() {
        let (mut history, start) = (History::default(), Instant::now());
        for number in 0..200_u32 {
            history.note(&counted(u64::from(number)), start + number * PACE);
        }
        assert_eq!(history.rates().packets.len(), STEPS);
    }
}
