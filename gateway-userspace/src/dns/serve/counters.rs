//! What became of questions.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hickory_proto::rr::RecordType;

use crate::dns::answer::{Outcome, Transport};

/// Types that are counted apart, as metrics have them; the last one is all others, and what was not understood.
pub const TYPES: [&str; 6] = ["A", "AAAA", "HTTPS", "SOA", "NS", "other"];
/// How questions come.
pub const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
/// Bounds of the times to an answer, in microseconds; above the last one there is one more.
pub const BOUNDS: [u64; 6] = [50, 250, 1_000, 10_000, 100_000, 1_000_000];

const CELLS: usize = Outcome::ALL.len() * TYPES.len() * TRANSPORTS.len();

/// Of one core: nobody else writes.
#[derive(Debug)]
pub struct Counters {
    questions: [AtomicU64; CELLS],
    times: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
    /// By result, as [`ASKED`] has them.
    asked: [AtomicU64; ASKED.len()],
}

/// How another server has answered, as metrics have it.
pub const ASKED: [&str; 3] = ["answered", "failed", "no-answer"];

/// How another server has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// As it should.
    Answered,
    /// That it cannot, or will not.
    Failed,
    /// Not in time.
    NoAnswer,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            questions: [const { AtomicU64::new(0) }; CELLS],
            times: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            microseconds: AtomicU64::new(0),
            asked: [const { AtomicU64::new(0) }; ASKED.len()],
        }
    }
}

impl Counters {
    /// A question, and how long its answer has taken.
    pub fn count(&self, outcome: Outcome, kind: Option<RecordType>, transport: Transport, took: Duration) {
        self.questions[cell(outcome, kind, transport)].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.iter().position(|bound| microseconds <= *bound).unwrap_or(BOUNDS.len());
        self.times[place].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// One that got no answer, since its source asks too much.
    pub fn count_limited(&self, transport: Transport) {
        self.questions[cell(Outcome::Limited, None, transport)].fetch_add(1, Ordering::Relaxed);
    }

    /// Another server was asked.
    pub fn count_asked(&self, how: Asking) {
        self.asked[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds these to `sum`.
    pub fn add_to(&self, sum: &mut Sum) {
        let add = |to: &mut [u64], from: &[AtomicU64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from.load(Ordering::Relaxed));
        };
        add(&mut sum.questions, &self.questions);
        add(&mut sum.times, &self.times);
        add(&mut sum.asked, &self.asked);
        sum.microseconds += self.microseconds.load(Ordering::Relaxed);
    }
}

/// Of all cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    questions: [u64; CELLS],
    /// By [`BOUNDS`].
    pub times: [u64; BOUNDS.len() + 1],
    /// Of all answers together.
    pub microseconds: u64,
    /// By [`ASKED`].
    pub asked: [u64; ASKED.len()],
}

impl Default for Sum {
    fn default() -> Self {
        Self { questions: [0; CELLS], times: [0; BOUNDS.len() + 1], microseconds: 0, asked: [0; ASKED.len()] }
    }
}

impl Sum {
    /// Outcome, type, transport and number of what there was.
    pub fn questions(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> + '_ {
        let transports = TRANSPORTS.iter();
        let all = Outcome::ALL.iter().flat_map(move |(_, outcome)| {
            let transports = transports.clone();
            TYPES
                .iter()
                .flat_map(move |kind| transports.clone().map(move |transport| (*outcome, *kind, *transport)))
        });
        let counted = all.zip(self.questions).filter(|(_, count)| *count > 0);
        counted.map(|((outcome, kind, transport), count)| (outcome, kind, transport, count))
    }
}

fn cell(outcome: Outcome, kind: Option<RecordType>, transport: Transport) -> usize {
    let kind = match kind {
        Some(RecordType::A) => 0,
        Some(RecordType::AAAA) => 1,
        Some(RecordType::HTTPS) => 2,
        Some(RecordType::SOA) => 3,
        Some(RecordType::NS) => 4,
        _ => 5,
    };
    (outcome as usize * TYPES.len() + kind) * TRANSPORTS.len() + transport as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_type_and_transport_is_counted_apart() {
        let counters = Counters::default();
        let took = Duration::from_micros(300);
        counters.count(Outcome::Answered, Some(RecordType::A), Transport::Udp, took);
        counters.count(Outcome::Answered, Some(RecordType::A), Transport::Udp, took);
        counters.count(Outcome::Forwarded, Some(RecordType::TXT), Transport::Tcp, Duration::from_secs(2));
        counters.count_limited(Transport::Udp);
        counters.count_asked(Asking::NoAnswer);
        let mut sum = Sum::default();
        counters.add_to(&mut sum);
        counters.add_to(&mut sum);
        let expected =
            [("answered", "A", "udp", 4), ("forwarded", "other", "tcp", 2), ("limited", "other", "udp", 2)];
        assert_eq!(sum.questions().collect::<Vec<_>>(), expected);
        assert_eq!((sum.times, sum.asked), ([0, 0, 4, 0, 0, 0, 2], [0, 0, 2]));
        assert_eq!(sum.microseconds, 2 * 2_000_600);
    }

    #[test]
    fn an_outcomes_place_is_its_number() {
        for (place, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
    }
}
