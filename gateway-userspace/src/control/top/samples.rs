//! Rates, from one look at the counters to the next. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use crate::{dataplane::Forwarded, status::Status};

/// Looks that are kept for the small plots.
const KEPT: usize = 30;

/// In a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) packets: f64,
    pub(super) bits: f64,
    /// TCP connections begun.
    pub(super) syns: f64,
}

/// What is known of one counter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Course {
    total: Total,
    pub(super) rate: Rate,
    /// Packets in a second at each look, the last one last.
    pub(super) past: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Total {
    packets: u64,
    bytes: u64,
    syns: u64,
}

/// The last look, and what came of those before.
#[derive(Debug, Default)]
pub(super) struct Samples {
    last: Option<(Instant, Status)>,
    services: BTreeMap<String, Course>,
    instances: BTreeMap<String, Course>,
    /// By name and reason.
    drops: BTreeMap<(String, String), Course>,
}

impl Course {
    /// Without a look before, or of a counter that was cleared since, nothing is known of a rate yet.
    fn take(&mut self, now: Total, seconds: Option<f64>) {
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now) as f64;
        if let Some(seconds) = seconds {
            self.rate = Rate {
                packets: more(now.packets, self.total.packets) / seconds,
                bits: more(now.bytes, self.total.bytes) * 8.0 / seconds,
                syns: more(now.syns, self.total.syns) / seconds,
            };
            self.past.push_back(self.rate.packets);
            if self.past.len() > KEPT {
                self.past.pop_front();
            }
        }
        self.total = now;
    }

    /// Packets since the balancer's maps were made.
    pub(super) fn packets(&self) -> u64 {
        self.total.packets
    }
}

impl Samples {
    /// A look.
    pub(super) fn take(&mut self, at: Instant, status: Status) {
        let seconds =
            self.last.as_ref().map(|(before, _)| at.saturating_duration_since(*before).as_secs_f64());
        // Two looks at one moment tell nothing.
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        if let Some(counters) = &status.counters {
            forwarded(&mut self.services, &counters.services, seconds);
            forwarded(&mut self.instances, &counters.instances, seconds);
            self.drops.retain(|(name, reason), _| {
                counters.drops.iter().any(|one| one.name == *name && one.reason == *reason)
            });
            for one in &counters.drops {
                // A reason is listed from its first packet on: where it is new, all of them are.
                let course = self.drops.entry((one.name.clone(), one.reason.to_string())).or_default();
                course.take(Total { packets: one.packets, ..Total::default() }, seconds);
            }
        }
        self.last = Some((at, status));
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.last.as_ref().map(|(_, status)| status)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&str, &Course)> {
        self.services.iter().map(|(name, course)| (name.as_str(), course))
    }

    pub(super) fn instance(&self, name: &str) -> Option<&Course> {
        self.instances.get(name)
    }

    /// Name, reason and course.
    pub(super) fn drops(&self) -> impl Iterator<Item = (&str, &str, &Course)> {
        self.drops.iter().map(|((name, reason), course)| (name.as_str(), reason.as_str(), course))
    }

    /// Of all services.
    pub(super) fn forwarded(&self) -> Rate {
        let add = |sum: Rate, one: &Course| Rate {
            packets: sum.packets + one.rate.packets,
            bits: sum.bits + one.rate.bits,
            syns: sum.syns + one.rate.syns,
        };
        self.services.values().fold(Rate::default(), add)
    }

    /// Packets in a second.
    pub(super) fn dropped(&self) -> f64 {
        self.drops.values().map(|course| course.rate.packets).sum()
    }
}

fn forwarded(courses: &mut BTreeMap<String, Course>, now: &[Forwarded], seconds: Option<f64>) {
    courses.retain(|name, _| now.iter().any(|one| one.name == *name));
    for one in now {
        let total = Total { packets: one.packets, bytes: one.bytes, syns: one.syns };
        // One that was not there before has no look before.
        let seconds = seconds.filter(|_| courses.contains_key(&one.name));
        courses.entry(one.name.clone()).or_default().take(total, seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::testing::serving;

    /// Looks at packets of the first service and the first drop, a second apart.
    fn looks(packets: &[u64]) -> Samples {
        let (mut samples, began) = (Samples::default(), Instant::now());
        for (second, &packets) in packets.iter().enumerate() {
            let mut status = serving();
            let counters = status.counters.as_mut().unwrap();
            let first = &mut counters.services[0];
            (first.packets, first.bytes, first.syns) = (packets, packets * 100, packets / 10);
            counters.drops[0].packets = packets;
            samples.take(began + Duration::from_secs(second as u64), status);
        }
        samples
    }

    #[test]
    fn a_rate_is_what_came_between_two_looks() {
        let samples = looks(&[1_000, 1_500]);
        let (name, course) = samples.services().next().unwrap();
        assert_eq!(name, "10.0.0.5:443");
        assert_eq!(course.rate, Rate { packets: 500.0, bits: 400_000.0, syns: 50.0 });
        assert_eq!(samples.forwarded().packets, 500.0);
        assert_eq!(samples.dropped(), 500.0);
    }

    #[test]
    fn the_first_look_knows_no_rate_and_a_cleared_counter_begins_anew() {
        assert_eq!(looks(&[1_000]).forwarded(), Rate::default());
        assert!(looks(&[1_000]).services().all(|(_, course)| course.past.is_empty()));
        assert_eq!(looks(&[1_000, 30]).forwarded().packets, 30.0);
    }

    #[test]
    fn so_many_looks_are_kept() {
        let samples = looks(&(0..50).collect::<Vec<_>>());
        assert_eq!(samples.services().next().unwrap().1.past.len(), KEPT);
    }

    #[test]
    fn a_reason_that_is_new_is_all_new() {
        let (mut samples, began) = (Samples::default(), Instant::now());
        let mut status = serving();
        status.counters.as_mut().unwrap().drops.clear();
        samples.take(began, status);
        samples.take(began + Duration::from_secs(1), serving());
        assert_eq!(samples.dropped(), 10.0);
    }
}
