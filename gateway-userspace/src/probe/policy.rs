//! From health, admin states, weights and time: who gets new flows, and whose flows are reset. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use super::health::Verdict;
use crate::model::{AdminState, AllDown, InstanceName, OnDown, Probe};

/// In how many steps a returning instance comes to its weight; each moves buckets.
pub const STEPS: u16 = 8;

/// What is decided by.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Whose.
    pub name: &'a InstanceName,
    /// In the file.
    pub weight: u16,
    /// What holds now.
    pub admin_state: AdminState,
    /// What its probes say.
    pub verdict: Verdict,
    /// It is down, and nobody answers at its address.
    pub gone: bool,
    /// It was added while others served: it waits for its first verdict.
    pub joining: bool,
    /// When it returned, if its slow start may not be over.
    pub returned: Option<Instant>,
}

/// How far the probes are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Belief {
    /// They decide.
    #[default]
    Probes,
    /// More are down than `probe.panic` allows: all count as up.
    Panic {
        /// So many.
        down: usize,
        /// Of so many.
        probed: usize,
    },
    /// All are down, and new flows are refused.
    Refused,
    /// All are down, and count as up.
    AllUp,
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probes => f.write_str("the probes decide who is in service"),
            Self::Panic { down, probed } => write!(
                f,
                "{down} of {probed} probed instances are down, more than `probe.panic` allows: the probes are not \
                 believed, and all instances count as up"
            ),
            Self::Refused => {
                f.write_str("no instance is in service: new flows are dropped (`probe.all_down`)")
            }
            Self::AllUp => {
                f.write_str("no instance is in service: all count as up all the same (`probe.all_down`)")
            }
        }
    }
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The weight of now of each instance; 0: no new flows.
    pub shares: BTreeMap<InstanceName, u16>,
    /// Whose established flows are reset.
    pub gone: BTreeSet<InstanceName>,
    /// How far the probes are believed.
    pub belief: Belief,
    /// Who has a slow start, and which step of [`STEPS`] it is at.
    pub starting: BTreeMap<InstanceName, u16>,
    /// When the next step is due.
    pub next_step: Option<Instant>,
}

impl Decision {
    /// Who gets new flows.
    pub fn serving(&self) -> impl Iterator<Item = &InstanceName> {
        self.shares.iter().filter(|(_, share)| **share > 0).map(|(name, _)| name)
    }
}

/// Decides for all instances of the file.
pub fn decide(members: &[Member<'_>], probe: &Probe, now: Instant) -> Decision {
    let belief = belief(members, probe);
    let believed = matches!(belief, Belief::Probes | Belief::Refused);
    let anybody = members.iter().any(|member| is_proven(member));
    let serves = |member: &Member<'_>| match member.admin_state {
        AdminState::Down => false,
        AdminState::Up => true,
        AdminState::Auto if !believed => true,
        AdminState::Auto => is_proven(member) || member.verdict == Verdict::Unknown && !anybody,
    };
    let serving: Vec<_> = members.iter().filter(|member| serves(member)).collect();
    let starting: BTreeMap<_, _> = serving
        .iter()
        .filter(|_| believed)
        .filter_map(|member| Some((member.name, step(member.returned?, probe.slow_start, now)?)))
        .collect();
    // Weights count against each other only, so all may be eight times as big: else a small one would have no steps.
    let small = serving.iter().any(|member| starting.contains_key(member.name) && member.weight < STEPS);
    let scale = if small { STEPS } else { 1 };
    let share = |member: &&Member<'_>| {
        let step = starting.get(member.name).map_or(STEPS, |(step, _)| *step);
        let share = u32::from(member.weight) * u32::from(scale) * u32::from(step) / u32::from(STEPS);
        u16::try_from(share.max(1)).unwrap_or(u16::MAX)
    };
    let mut shares: BTreeMap<_, _> = members.iter().map(|member| (member.name.clone(), 0)).collect();
    shares.extend(serving.iter().map(|member| (member.name.clone(), share(member))));
    let gone = members.iter().filter(|member| believed && is_reset(member, probe.on_down));
    Decision {
        shares,
        gone: gone.map(|member| member.name.clone()).collect(),
        belief,
        next_step: starting.values().map(|(_, next)| *next).min(),
        starting: starting.into_iter().map(|(name, (step, _))| (name.clone(), step)).collect(),
    }
}

fn belief(members: &[Member<'_>], probe: &Probe) -> Belief {
    let auto = || members.iter().filter(|member| member.admin_state == AdminState::Auto);
    let (probed, down) = (auto().count(), auto().filter(|member| member.verdict == Verdict::Down).count());
    if down * 100 > probed * usize::from(probe.panic) {
        return Belief::Panic { down, probed };
    }
    let anybody = members.iter().any(|member| member.admin_state == AdminState::Up);
    match probe.all_down {
        _ if anybody || down < probed || probed == 0 => Belief::Probes,
        AllDown::Refuse => Belief::Refused,
        AllDown::AllUp => Belief::AllUp,
    }
}

/// Others need not do without it: an administrator or its probes say that it serves, or did so until now.
fn is_proven(member: &Member<'_>) -> bool {
    match member.admin_state {
        AdminState::Down => false,
        AdminState::Up => true,
        AdminState::Auto => match member.verdict {
            Verdict::Up => true,
            Verdict::Down => false,
            Verdict::Unknown => !member.joining,
        },
    }
}

/// R82
fn is_reset(member: &Member<'_>, on_down: OnDown) -> bool {
    member.admin_state != AdminState::Up
        && member.verdict == Verdict::Down
        && match on_down {
            OnDown::Keep => false,
            OnDown::Reset => true,
            OnDown::Auto => member.gone,
        }
}

/// Which step a slow start is at, from 1, and when the next one is due; none if it is over.
fn step(returned: Instant, slow_start: Duration, now: Instant) -> Option<(u16, Instant)> {
    let elapsed = now.saturating_duration_since(returned);
    (1..STEPS).find_map(|step| {
        let end = slow_start * u32::from(step) / u32::from(STEPS - 1);
        (elapsed < end).then_some((step, returned + end))
    })
}

#[cfg(test)]
mod tests;
