//! What is kept of an instance's probes, for people.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Report, health::Verdict};

/// Results and changes that are kept of each instance.
const KEPT: usize = 16;

/// A probe's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// When it was over.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; none if it did not.
    pub error: Option<String>,
}

/// A change of the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// The new verdict.
    pub to: Verdict,
    /// The error that led to it, where it is one.
    pub error: Option<String>,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The latest last.
    pub results: VecDeque<Tried>,
    /// The latest last.
    pub transitions: VecDeque<Transition>,
    /// R81: why the last probe that failed did, and when.
    pub last_error: Option<(Instant, String)>,
    /// Probes that succeeded.
    pub succeeded: u64,
    /// Probes that failed.
    pub failed: u64,
    /// How often the verdict changed.
    pub changes: u64,
}

impl History {
    pub(super) fn note(&mut self, report: &Report, verdict: Option<Verdict>) {
        let error = report.outcome.as_ref().err().map(ToString::to_string);
        match &error {
            None => self.succeeded += 1,
            Some(text) => {
                self.failed += 1;
                self.last_error = Some((report.at, text.clone()));
            }
        }
        if let Some(to) = verdict {
            self.changes += 1;
            keep(&mut self.transitions, Transition { at: report.at, to, error: error.clone() });
        }
        keep(&mut self.results, Tried { at: report.at, took: report.took, error });
    }
}

fn keep<T>(list: &mut VecDeque<T>, latest: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(latest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::InstanceName, probe::Failure};

    fn report(outcome: Result<(), Failure>) -> Report {
        let instance = InstanceName("gw-1".into());
        let address = "10.0.0.11:8080".parse().unwrap();
        Report {
            instance,
            address,
            outcome,
            took: Duration::from_millis(1),
            at: Instant::now(),
            asked: Vec::new(),
        }
    }

    #[test]
    fn r81_the_last_error_outlives_good_answers() {
        let mut history = History::default();
        history.note(&report(Err(Failure::Status(503))), None);
        history.note(&report(Ok(())), Some(Verdict::Up));
        assert_eq!(history.last_error.as_ref().unwrap().1, "status 503");
        assert_eq!((history.succeeded, history.failed, history.changes), (1, 1, 1));
        assert_eq!(history.transitions.back().unwrap().error, None);
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        for _ in 0..1_000 {
            history.note(&report(Err(Failure::Refused)), Some(Verdict::Down));
        }
        assert_eq!((history.results.len(), history.transitions.len()), (KEPT, KEPT));
        assert_eq!(history.failed, 1_000);
    }
}
