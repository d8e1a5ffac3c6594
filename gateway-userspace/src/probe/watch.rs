//! What is known of all instances by their probes, and what is decided by it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    net::SocketAddr,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{
    Presence, Report,
    health::{Health, Verdict},
    history::History,
    policy::{self, Belief, Decision, Member},
};
use crate::model::{AdminState, InstanceName, Model, Probe};

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    instances: BTreeMap<InstanceName, Watched>,
    decision: Decision,
    /// False until the first decision: who serves from the start on has not returned, and joins nobody.
    began: bool,
}

/// An instance.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What its probes say.
    pub health: Health,
    /// For people.
    pub history: History,
    /// See [`Member::joining`].
    joining: bool,
    /// See [`Member::returned`].
    returned: Option<Instant>,
}

impl Watched {
    fn new(now: Instant, joining: bool) -> Self {
        Self { health: Health::new(now), history: History::default(), joining, returned: None }
    }
}

/// What the next process has to know of an instance's health. Moments are as whoever saves them has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHealth {
    verdict: Verdict,
    since: Option<u64>,
    doublings: u8,
    gone: bool,
    joining: bool,
    returned: Option<u64>,
}

/// A change of an instance's health, as it is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    instance: InstanceName,
    address: SocketAddr,
    /// Good or bad answers in a row that led to it.
    answers: u32,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The first verdict of all.
    FirstUp,
    Up,
    Down {
        error: String,
        /// Good answers that it takes to be up again.
        rise: u32,
        flaps: bool,
    },
    Gone,
    Present,
}

impl Change {
    /// Whether the next process has to know.
    pub fn is_saved(&self) -> bool {
        self.kind != Kind::FirstUp
    }

    /// Whether it is bad news.
    pub fn level(&self) -> log::Level {
        match self.kind {
            Kind::FirstUp | Kind::Up | Kind::Present => log::Level::Info,
            Kind::Down { .. } | Kind::Gone => log::Level::Warn,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, address, answers, kind } = self;
        let probes = if *answers == 1 { "probe" } else { "probes in a row" };
        match kind {
            Kind::FirstUp | Kind::Up => {
                write!(f, "{instance} is up: {answers} {probes} succeeded ({address})")
            }
            Kind::Down { error, rise, flaps } => {
                write!(f, "{instance} is down: {answers} {probes} failed: {error} ({address})")?;
                match flaps {
                    true => {
                        write!(f, "; it goes up and down, so it takes {rise} good ones now to be up again")
                    }
                    false => Ok(()),
                }
            }
            Kind::Gone => write!(f, "{instance} is gone: nothing answers at {}", address.ip()),
            Kind::Present => write!(f, "{instance}: something answers at {} again", address.ip()),
        }
    }
}

impl Watch {
    /// Takes up who is in the file now, and decides anew. An instance that is added while others serve waits for its first
    /// verdict.
    pub fn follow(&mut self, model: &Model, admin_states: &BTreeMap<InstanceName, AdminState>, now: Instant) {
        self.instances.retain(|name, _| model.instance(&name.0).is_some());
        let joining = self.began;
        for instance in &model.instances {
            self.instances.entry(instance.name.clone()).or_insert_with(|| Watched::new(now, joining));
        }
        self.decide(model, admin_states, now);
    }

    /// Takes up a result. [`Self::decide`] says what follows.
    pub fn take_up(&mut self, report: &Report, probe: &Probe) -> Option<Change> {
        let watched = self.instances.get_mut(&report.instance)?;
        let result = match &report.outcome {
            Ok(()) => Ok(()),
            // What this host could not try says nothing of the instance.
            Err(failure) => match failure.presence() {
                Some(presence) => Err(presence),
                None => {
                    watched.history.note(report, None);
                    return None;
                }
            },
        };
        let before = watched.health.verdict();
        let was_gone = watched.health.is_gone(probe);
        let rise = watched.health.rise(probe);
        let verdict = watched.health.observe(result, probe, report.at);
        watched.history.note(report, verdict);
        let kind = match (verdict, &report.outcome) {
            (Some(Verdict::Up), _) if before == Verdict::Unknown => Kind::FirstUp,
            (Some(Verdict::Up), _) => Kind::Up,
            (Some(_), Err(error)) => Kind::Down {
                error: error.to_string(),
                rise: watched.health.rise(probe),
                flaps: watched.health.doublings() > 0,
            },
            _ => match (was_gone, watched.health.is_gone(probe)) {
                (false, true) => Kind::Gone,
                (true, false) => Kind::Present,
                _ => return None,
            },
        };
        let answers = if verdict == Some(Verdict::Up) { rise } else { probe.fall.into() };
        let (instance, address) = (report.instance.clone(), report.address);
        Some(Change { instance, address, answers, kind })
    }

    /// Decides anew. True if something follows for the tables.
    pub fn decide(
        &mut self,
        model: &Model,
        admin_states: &BTreeMap<InstanceName, AdminState>,
        now: Instant,
    ) -> bool {
        let mut decision = policy::decide(&self.members(model, admin_states), &model.probe, now);
        if self.note_returns(&decision, now) {
            decision = policy::decide(&self.members(model, admin_states), &model.probe, now);
        }
        for (name, watched) in &mut self.instances {
            watched.returned.take_if(|_| !decision.starting.contains_key(name));
        }
        self.began = true;
        let before = mem::replace(&mut self.decision, decision);
        (&before.shares, &before.gone) != (&self.decision.shares, &self.decision.gone)
    }

    fn members<'m>(
        &self,
        model: &'m Model,
        admin_states: &BTreeMap<InstanceName, AdminState>,
    ) -> Vec<Member<'m>> {
        let member = |instance: &'m crate::model::Instance| {
            let watched = self.instances.get(&instance.name)?;
            Some(Member {
                name: &instance.name,
                weight: instance.weight,
                admin_state: *admin_states.get(&instance.name)?,
                verdict: watched.health.verdict(),
                gone: watched.health.is_gone(&model.probe),
                joining: watched.joining,
                returned: watched.returned,
            })
        };
        model.instances.iter().filter_map(member).collect()
    }

    /// Who serves now and did not before has returned, if others served meanwhile. True if that is somebody.
    fn note_returns(&mut self, decision: &Decision, now: Instant) -> bool {
        let serving: BTreeSet<_> = decision.serving().collect();
        let served: BTreeSet<_> = self.decision.serving().collect();
        let others = served.iter().any(|name| serving.contains(name));
        // Who was only believed to be down has nothing to warm up for.
        let believed = [&self.decision, decision].iter().all(|one| one.belief == Belief::Probes);
        let mut returned = false;
        for (name, watched) in &mut self.instances {
            if !serving.contains(name) {
                watched.returned = None;
            } else if !served.contains(name) && others && believed {
                watched.returned = Some(now);
                returned = true;
            }
        }
        returned
    }

    /// For the next process.
    pub fn saved(
        &self,
        probe: &Probe,
        number: impl Fn(Instant) -> Option<u64>,
    ) -> BTreeMap<InstanceName, SavedHealth> {
        let saved = |watched: &Watched| SavedHealth {
            verdict: watched.health.verdict(),
            since: number(watched.health.since()),
            doublings: watched.health.doublings(),
            gone: watched.health.is_gone(probe),
            joining: watched.joining,
            returned: watched.returned.and_then(&number),
        };
        // The others are as the next process takes whom it finds in service.
        let tells = |watched: &&Watched| {
            let flaps = watched.health.doublings() > 0;
            let joins = watched.joining && watched.health.verdict() == Verdict::Unknown;
            watched.health.verdict() == Verdict::Down || flaps || joins || watched.returned.is_some()
        };
        let told = self.instances.iter().filter(|(_, watched)| tells(watched));
        told.map(|(name, watched)| (name.clone(), saved(watched))).collect()
    }

    /// Goes on from where the last process was, in which `served` were known: others join them. [`Self::decide`] says what
    /// follows; nobody returns by this.
    pub fn restore(
        &mut self,
        saved: &BTreeMap<InstanceName, SavedHealth>,
        served: &BTreeSet<InstanceName>,
        probe: &Probe,
        moment: impl Fn(u64) -> Option<Instant>,
    ) {
        for (name, watched) in &mut self.instances {
            let Some(saved) = saved.get(name) else {
                watched.joining = !served.contains(name);
                continue;
            };
            let since = saved.since.and_then(&moment).unwrap_or(watched.health.since());
            let presence = if saved.gone { Presence::Nobody } else { Presence::Somebody };
            watched.health = Health::found(saved.verdict, since, saved.doublings, presence, probe);
            watched.joining = saved.joining;
            watched.returned = saved.returned.and_then(&moment);
        }
    }

    /// What was decided last.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// An instance of the file.
    pub fn instance(&self, name: &InstanceName) -> Option<&Watched> {
        self.instances.get(name)
    }
}

#[cfg(test)]
mod tests;
