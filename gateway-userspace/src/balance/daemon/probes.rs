//! What the probes say, and what the balancer does about it.

use std::{
    mem,
    time::{Duration, Instant, SystemTime},
};

use super::Daemon;
use crate::{
    model::InstanceName,
    probe::{Report, health::Verdict, policy::Belief, watch::Change},
    status::{Health, HealthWord, ProbeResult, SlowStart, Time},
};

/// Before the tables follow a change, for those that come with it: a whole rack falls at once, and building a ring takes
/// milliseconds.
const GATHERING: Duration = Duration::from_millis(50);

/// Changes that nothing followed from yet.
#[derive(Debug, Default)]
pub(super) struct Heard {
    changes: Vec<Change>,
    due: Option<Instant>,
}

impl Heard {
    fn take_up(&mut self, change: Change, now: Instant) {
        self.changes.push(change);
        self.due.get_or_insert(now + GATHERING);
    }
}

impl Daemon<'_> {
    /// A probe is over.
    pub(super) fn probed(&mut self, report: &Report) {
        if self.is_blind_to(report) {
            return;
        }
        if let Some(change) = self.state.probed(report) {
            self.heard.take_up(change, Instant::now());
        }
    }

    /// It failed, and the cable was out at this end: that says nothing of the instance.
    pub(super) fn is_blind_to(&self, report: &Report) -> bool {
        let port = self.state.probed_by(report).and_then(|link| self.port(link));
        report.outcome.is_err() && port.is_some_and(|at| !self.ports[at].link.carrier)
    }

    /// When there is something to decide: a change was heard of, or the next step of a slow start is due.
    pub(super) fn next_decision(&self) -> Option<Instant> {
        [self.heard.due, self.state.next_step()].into_iter().flatten().min()
    }

    /// Brings the tables to what health, admin states and time make of the shares.
    pub(super) fn decide(&mut self) {
        let Heard { changes, .. } = mem::take(&mut self.heard);
        if self.state.decide(Instant::now()) || changes.iter().any(Change::is_saved) {
            self.apply_or_retry();
        }
        // Afterwards, so that what is said is so.
        for change in changes {
            log::log!(change.level(), "{change}");
        }
    }

    /// Logs whether the probes are believed, when that changes.
    pub(super) fn say_what_is_believed(&mut self) {
        let belief = self.state.decision().belief;
        if mem::discriminant(&belief) != mem::discriminant(&self.belief) {
            let level = if belief == Belief::Probes { log::Level::Info } else { log::Level::Error };
            log::log!(level, "{belief}");
        }
        self.belief = belief;
    }

    /// What an instance's probes say, for those who ask.
    pub(super) fn health(&self, name: &InstanceName) -> Option<Health> {
        let watched = self.state.watched(name)?;
        let probe = &self.state.model().probe;
        let (health, history) = (&watched.health, &watched.history);
        let state = match health.verdict() {
            Verdict::Unknown => HealthWord::Unknown,
            Verdict::Up => HealthWord::Up,
            Verdict::Down if health.is_gone(probe) => HealthWord::Gone,
            Verdict::Down => HealthWord::Down,
        };
        let result = |tried: &crate::probe::history::Tried| ProbeResult {
            time: wall_time(tried.at),
            seconds: tried.took.as_secs_f64(),
            error: tried.error.clone(),
        };
        Some(Health {
            state,
            since: wall_time(health.since()),
            last_error: history.last_error.as_ref().map(|(_, error)| error.clone()),
            succeeded: history.succeeded,
            failed: history.failed,
            transitions: history.changes,
            rise: health.rise(probe),
            slow_start: self.state.slow_start(name).map(|(step, steps)| SlowStart { step, steps }),
            history: history.results.iter().map(result).collect(),
        })
    }

    /// Why the probes do not decide, where they do not.
    pub(super) fn disbelief(&self) -> Option<String> {
        let belief = self.state.decision().belief;
        (belief != Belief::Probes).then(|| belief.to_string())
    }
}

fn wall_time(past: Instant) -> Time {
    let now = SystemTime::now();
    now.checked_sub(past.elapsed()).unwrap_or(now).into()
}
