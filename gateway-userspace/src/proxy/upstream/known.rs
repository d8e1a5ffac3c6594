//! What is known of a name's addresses. Pure.

use std::{net::IpAddr, time::Duration};

/// However short-lived an answer is: one question a second is enough.
const SHORTEST: Duration = Duration::from_secs(1);
/// However long-lived an answer is: a name that moves is followed within this time.
const LONGEST: Duration = Duration::from_secs(300);
/// After a failure, then twice as long each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What the DNS says of a name and one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// There is none.
    Nothing,
    /// It says nothing, and why.
    Failed(String),
}

/// The last that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// In a row.
    failures: u32,
    /// Why the last question had no answer, if it had none.
    pub(super) failure: Option<String>,
}

impl Known {
    /// All addresses, in an order of their own: the DNS changes it from answer to answer.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.v4.iter().chain(&self.v6).copied().collect()
    }

    /// After both questions. A family without an answer keeps its last good one; so do both, where there is no address at all: what
    /// lost its records by mistake goes on.
    #[must_use]
    pub(super) fn after(&self, v4: Answer, v6: Answer) -> Self {
        let is_good = |answer: &Answer| matches!(answer, Answer::Addresses(list, _) if !list.is_empty());
        if is_good(&v4) || is_good(&v6) {
            return Self { v4: taken(v4, &self.v4), v6: taken(v6, &self.v6), failures: 0, failure: None };
        }
        let why = [v4, v6].into_iter().find_map(|answer| match answer {
            Answer::Failed(why) => Some(why),
            _ => None,
        });
        Self {
            failures: self.failures.saturating_add(1),
            failure: Some(why.unwrap_or_else(|| "it has no address".to_owned())),
            ..self.clone()
        }
    }

    /// Whether the log should have this failure: the first in a row, and then each that doubles their number.
    pub(super) fn is_worth_telling(&self) -> bool {
        self.failures.is_power_of_two()
    }

    /// When to ask again, `lifetime` being that of the answers.
    pub(super) fn again_in(&self, lifetime: Option<Duration>) -> Duration {
        match lifetime {
            Some(lifetime) if self.failures == 0 => lifetime.clamp(SHORTEST, LONGEST),
            _ => FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(LAST_RETRY),
        }
    }
}

impl Answer {
    /// How long it holds.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::Addresses(_, lifetime) => Some(*lifetime),
            Self::Nothing | Self::Failed(_) => None,
        }
    }
}

fn taken(answer: Answer, last: &[IpAddr]) -> Vec<IpAddr> {
    match answer {
        Answer::Addresses(mut list, _) => {
            list.sort_unstable();
            list.dedup();
            list
        }
        Answer::Nothing => Vec::new(),
        Answer::Failed(_) => last.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn some(list: &[&str]) -> Answer {
        Answer::Addresses(ips(list), MINUTE)
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn failed() -> Answer {
        Answer::Failed("no answer".to_owned())
    }

    #[test]
    fn answers_take_the_place_of_older_ones_and_failures_of_none() {
        let known = Known::default().after(some(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]), some(&["fd00::1"]));
        let all = ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
        assert_eq!(known.addresses(), all, "each once, and in an order of its own");
        for (v4, v6, expected, failure) in [
            (some(&["10.0.0.3"]), some(&["fd00::3"]), ips(&["10.0.0.3", "fd00::3"]), None),
            (some(&["10.0.0.3"]), Answer::Nothing, ips(&["10.0.0.3"]), None),
            (some(&["10.0.0.3"]), failed(), ips(&["10.0.0.3", "fd00::1"]), None),
            (Answer::Nothing, some(&["fd00::3"]), ips(&["fd00::3"]), None),
            (failed(), failed(), all.clone(), Some("no answer")),
            (Answer::Nothing, failed(), all.clone(), Some("no answer")),
            (Answer::Nothing, Answer::Nothing, all.clone(), Some("it has no address")),
            (Answer::Addresses(vec![], MINUTE), Answer::Nothing, all, Some("it has no address")),
        ] {
            let after = known.after(v4, v6);
            assert_eq!((after.addresses(), after.failure.as_deref()), (expected, failure));
        }
    }

    #[test]
    fn the_next_question_comes_when_answers_have_had_their_time() {
        let good = Known::default().after(some(&["10.0.0.1"]), Answer::Nothing);
        for (lifetime, expected) in [(0, 1), (1, 1), (60, 60), (86_400, 300)] {
            assert_eq!(good.again_in(Some(Duration::from_secs(lifetime))), Duration::from_secs(expected));
        }
        let mut bad = good.clone();
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            bad = bad.after(failed(), failed());
            assert_eq!(bad.again_in(None), Duration::from_secs(expected));
        }
        for _ in 0..100 {
            bad = bad.after(failed(), failed());
        }
        assert_eq!(bad.again_in(None), LAST_RETRY);
        assert_eq!(
            bad.after(some(&["10.0.0.1"]), failed()).again_in(Some(MINUTE)),
            MINUTE,
            "all is forgotten"
        );
    }
}
