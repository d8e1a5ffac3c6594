//! The end of windows and drains: by what the instances say of their living flows.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use gateway_ebpf::note::Settled;
use tokio::sync::mpsc;

use super::{Daemon, Message};
use crate::{
    balance::{
        evidence::{Answer, Askers, Failure, Known, Ledger, Obstacle, Order, Pace, Report, Verdict},
        state::State,
    },
    model::InstanceName,
    plan::{self, Plan},
};

/// Answers come one by one; after the first the others are waited for this long.
const TOGETHER: Duration = Duration::from_secs(1);

/// What is known of open windows, and who is asked about them.
#[derive(Debug)]
pub(super) struct Windows {
    ledger: Ledger,
    askers: Askers,
    /// When what was said is judged next.
    judge_at: Option<Instant>,
    /// Why windows were open when that was last done.
    open: BTreeMap<Obstacle, usize>,
    /// Why instances do not say which flows they have, or do not take notice of their drain; each reason is logged once.
    mute: BTreeMap<InstanceName, String>,
    deaf: BTreeMap<InstanceName, String>,
}

/// What a judgement needs beside the plan.
struct Sets {
    instances: BTreeSet<u16>,
    gone: BTreeSet<u16>,
    noted: BTreeSet<(u16, u16)>,
}

impl Windows {
    /// Of tables that have just been made.
    pub(super) fn new(plan: &Plan, now: Instant) -> Self {
        Self::of(Ledger::new(plan.ring.len(), now))
    }

    /// Of tables that an earlier process left.
    pub(super) fn go_on(plan: &Plan, now: Instant) -> Self {
        Self::of(Ledger::go_on(plan.ring.len(), now))
    }

    fn of(ledger: Ledger) -> Self {
        Self {
            ledger,
            askers: Askers::default(),
            judge_at: None,
            open: BTreeMap::new(),
            mute: BTreeMap::new(),
            deaf: BTreeMap::new(),
        }
    }

    /// The tables have just changed.
    pub(super) fn follow(&mut self, before: &Plan, after: &Plan, now: Instant) {
        let instances = after.numbers.values().copied().collect();
        self.ledger.follow(&before.ring, &after.ring, &instances, now);
    }

    /// When what was said is judged next.
    pub(super) const fn judge_at(&self) -> Option<Instant> {
        self.judge_at
    }

    /// What an instance said last.
    pub(super) fn report(&self, number: u16) -> Option<&Report> {
        self.ledger.report(number)
    }

    /// How many windows are open, by the reason found when that was last looked at.
    pub(super) fn open(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.open.iter().map(|(obstacle, count)| (obstacle.name(), *count))
    }

    /// Has instances asked as often as the tables of now need it, and told of their drains.
    pub(super) fn direct(&mut self, state: &State, plan: &Plan, outbox: &mpsc::Sender<Message>) {
        self.askers.order(orders(state, plan), outbox, Message::Flows);
        let is_known = |name: &InstanceName| plan.numbers.contains_key(name);
        self.mute.retain(|name, _| is_known(name));
        self.deaf.retain(|name, _| is_known(name));
    }
}

fn orders(state: &State, plan: &Plan) -> BTreeMap<InstanceName, Order> {
    let needed = needed(plan);
    let ends: BTreeMap<_, _> = state.drains().collect();
    let mut orders = BTreeMap::new();
    for (name, number) in &plan.numbers {
        let Some((dip, from)) = state.door(name) else { continue };
        let drain = ends.get(name);
        let pace = if drain.is_some() || needed.contains(number) { Pace::Soon } else { Pace::Seldom };
        let to = SocketAddr::new(dip, state.model().probe.port);
        let drained = drain.copied().flatten();
        orders.insert(name.clone(), Order { to, from, affinity: plan.config.affinity, pace, drained });
    }
    orders
}

/// Whose answer an open window waits for.
fn needed(plan: &Plan) -> BTreeSet<u16> {
    let (nobody, no_notes) = (BTreeSet::new(), BTreeSet::new());
    let known = known(plan, &nobody, &nobody, &no_notes);
    let all = || plan.numbers.values().copied().collect();
    if known.switched {
        return all();
    }
    let mut needed = BTreeSet::new();
    for (bucket, _) in (0..).zip(&plan.ring).filter(|(_, word)| word.is_moved()) {
        match known.others(bucket) {
            Some(others) => needed.extend(others),
            None => return all(),
        }
    }
    needed
}

fn known<'a>(
    plan: &'a Plan,
    instances: &'a BTreeSet<u16>,
    gone: &'a BTreeSet<u16>,
    noted: &'a BTreeSet<(u16, u16)>,
) -> Known<'a> {
    Known {
        words: &plan.ring,
        windows: &plan.windows,
        affinity: plan.config.affinity,
        switched: plan.config.affinity != plan.config.affinity_before,
        instances,
        gone,
        noted,
    }
}

impl Daemon<'_> {
    /// An instance's answer, or that there was none.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { name, flows, told } = answer;
        let Some(&number) = self.plan.numbers.get(&name) else { return };
        if let Some(told) = told {
            let what =
                "does not take notice of its drain's begin or end, so its clients are not asked to leave";
            note_failure(&mut self.windows.deaf, &name, told.as_ref().err(), what);
        }
        let what = "does not say which flows it has, so buckets that it had stay marked as moved";
        note_failure(&mut self.windows.mute, &name, flows.as_ref().err(), what);
        if let Ok(report) = flows {
            self.windows.ledger.heard(number, report);
            self.windows.judge_at.get_or_insert(Instant::now() + TOGETHER);
        }
    }

    /// Closes the windows, and ends the drains, that nothing speaks against any more.
    pub(super) fn judge(&mut self) {
        self.windows.judge_at = None;
        self.windows.open.clear();
        let is_draining = self.state.drains().next().is_some();
        if self.behind || !is_draining && !self.plan.ring.iter().any(|word| word.is_moved()) {
            return;
        }
        let (verdict, empty) = match self.verdict() {
            Ok(verdict) => verdict,
            Err(error) => return log::warn!("{error:#}"),
        };
        self.windows.open = verdict.open;
        if !verdict.over.buckets.is_empty() {
            let (buckets, open) = (verdict.over.buckets.len(), self.windows.open.values().sum::<usize>());
            if verdict.over.affinity {
                log::info!("the switch of the affinity is over: each flow is where it leads");
            } else {
                log::info!("{buckets} buckets have no flow of an earlier owner any more; {open} may have");
            }
            let closed = plan::close(&self.plan, &verdict.over);
            if let Err(error) = self.write(closed) {
                return log::warn!("they could not be closed, which is tried again soon: {error:#}");
            }
        }
        for name in &empty {
            log::info!("{name}: the drain is over, since it has no flow any more");
        }
        self.state.end_drains_of(&empty);
        // Another affinity may have waited for this one.
        if verdict.over.affinity || !empty.is_empty() {
            self.apply_or_retry();
        }
    }

    /// What may close, and who is drained and has nothing left.
    fn verdict(&mut self) -> anyhow::Result<(Verdict, Vec<InstanceName>)> {
        let now = Instant::now();
        let gone = self.state.desired().gone;
        let mut sets = Sets {
            instances: self.plan.numbers.values().copied().collect(),
            gone: gone.iter().filter_map(|name| self.plan.numbers.get(name).copied()).collect(),
            noted: self.dataplane.noted(|_, _| false),
        };
        // After the notes, and as late as can be: what happened before is in it.
        self.windows.ledger.refused(self.dataplane.settled(Settled::Refused)?, now);
        let ledger = &self.windows.ledger;
        let verdict = ledger.judge(&known(&self.plan, &sets.instances, &sets.gone, &sets.noted), now);
        if !verdict.useless.is_empty() {
            let useless = |bucket, instance| verdict.useless.contains(&(bucket, instance));
            sets.noted = self.dataplane.noted(useless);
        }
        let known = known(&self.plan, &sets.instances, &sets.gone, &sets.noted);
        let is_empty = |name: &InstanceName| {
            self.plan.numbers.get(name).is_some_and(|&number| ledger.is_empty(&known, number, now))
        };
        let empty = self.state.drains().map(|(name, _)| name).filter(|name| is_empty(name)).cloned();
        let empty = empty.collect();
        Ok((verdict, empty))
    }
}

fn note_failure(
    noted: &mut BTreeMap<InstanceName, String>,
    name: &InstanceName,
    failure: Option<&Failure>,
    what: &str,
) {
    let Some(failure) = failure.map(ToString::to_string) else {
        if noted.remove(name).is_some() {
            log::info!("{name} answers the balancer again");
        }
        return;
    };
    let logged = noted.entry(name.clone()).or_default();
    if *logged != failure {
        log::warn!("{name} {what}: {failure}");
        *logged = failure;
    }
}
