//! A balancer's side: whose each block of one public VIP is. Time is an argument.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    blocks::Blocks,
    pool::{Share, pool},
    wire::{VipOrder, VipReport},
};
use crate::model::InstanceName;

/// How long a block that was given back is nobody's: what its last flows left on the way, and what their peers still keep of them
/// (TIME_WAIT), is over then. The longest transitory timeout of RFC 7857 (section 4.1).
const REST: Duration = Duration::from_secs(240);
/// How long a balancer that knows of no leases waits for what instances say they hold, before it gives anything.
const HOLD_OFF: Duration = Duration::from_secs(10);
/// After so long without an answer another instance is believed that has what this one was said to have by another balancer.
const STALE: Duration = Duration::from_secs(5);
/// Blocks that are given at once, in turn.
const EIGHT: usize = 8;
/// What an instance has beyond its preallocation is at most so many times what stays free for all, so that however hungry it is,
/// the others can grow.
const AGAINST_FREE: usize = 2;

/// What leases follow from beside what instances say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What this balancer may give.
    pub share: Share,
    /// Blocks that each instance of the file has in any case, from all balancers together.
    pub preallocated: usize,
    /// The file's instances.
    pub instances: BTreeSet<InstanceName>,
    /// Those that tables can name: also removed ones, until their drain is over.
    pub known: BTreeSet<InstanceName>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    share: Share,
    /// [`Share::blocks`]
    mine: Blocks,
    holders: BTreeMap<InstanceName, Holder>,
    /// Until when they are nobody's.
    resting: Vec<(Instant, Blocks)>,
    /// Before it nothing is given, unless all instances have been heard.
    hold_off: Option<Instant>,
}

/// What one instance has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holder {
    leased: Blocks,
    draining: Blocks,
    /// Given by other balancers.
    routed: Blocks,
    /// Of what it says it holds, what is another's here: it has to part with that.
    contested: Blocks,
    wanted: usize,
    idle: Blocks,
    heard: Option<Instant>,
}

impl Holder {
    fn all(&self) -> Blocks {
        self.leased.or(&self.draining).or(&self.routed)
    }
}

/// What the next process goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLedger {
    share: Share,
    holders: BTreeMap<InstanceName, SavedHolder>,
    #[serde(default)]
    resting: Vec<(u64, Blocks)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct SavedHolder {
    leased: Blocks,
    draining: Blocks,
    routed: Blocks,
}

impl Ledger {
    /// Nothing is known: what instances hold comes first.
    pub fn new(share: Share, now: Instant) -> Self {
        Self {
            share,
            mine: share.blocks(),
            holders: BTreeMap::new(),
            resting: Vec::new(),
            hold_off: Some(now + HOLD_OFF),
        }
    }

    /// For [`Self::restore`]; `number` as a moment is saved.
    pub fn saved(&self, number: impl Fn(Instant) -> Option<u64>) -> SavedLedger {
        let holder = |holder: &Holder| SavedHolder {
            leased: holder.leased.clone(),
            draining: holder.draining.clone(),
            routed: holder.routed.clone(),
        };
        SavedLedger {
            share: self.share,
            holders: self.holders.iter().map(|(name, one)| (name.clone(), holder(one))).collect(),
            resting: self
                .resting
                .iter()
                .filter_map(|(until, blocks)| Some((number(*until)?, blocks.clone())))
                .collect(),
        }
    }

    /// Goes on from there.
    pub fn restore(saved: &SavedLedger, moment: impl Fn(u64) -> Option<Instant>) -> Self {
        let holder = |saved: &SavedHolder| Holder {
            leased: saved.leased.clone(),
            draining: saved.draining.clone(),
            routed: saved.routed.clone(),
            ..Holder::default()
        };
        Self {
            share: saved.share,
            mine: saved.share.blocks(),
            holders: saved.holders.iter().map(|(name, one)| (name.clone(), holder(one))).collect(),
            resting: saved
                .resting
                .iter()
                .filter_map(|(number, blocks)| Some((moment(*number)?, blocks.clone())))
                .collect(),
            hold_off: None,
        }
    }

    /// What the table has: whose answers go where.
    pub fn table(&self) -> impl Iterator<Item = (&InstanceName, Blocks)> {
        self.holders.iter().map(|(name, holder)| (name, holder.all()))
    }

    /// What an instance is told, once the table is written.
    pub fn order(&self, name: &InstanceName) -> VipOrder {
        let Some(holder) = self.holders.get(name) else { return VipOrder::default() };
        VipOrder {
            leased: holder.leased.clone(),
            routed: holder.routed.clone(),
            draining: holder.draining.or(&holder.contested),
        }
    }

    /// An instance's answer to `sent`.
    pub fn heard(&mut self, name: &InstanceName, sent: &VipOrder, report: &VipReport, now: Instant) {
        let held = report.held.and(&pool());
        let mut elsewhere = Blocks::default();
        for holder in self.holders.iter_mut().filter(|(other, _)| *other != name).map(|(_, one)| one) {
            if holder.heard.is_none_or(|at| now.saturating_duration_since(at) > STALE) {
                holder.routed = holder.routed.without(&held);
            }
            elsewhere = elsewhere.or(&holder.all());
        }
        let holder = self.holders.entry(name.clone()).or_default();
        // It was told that no flow may begin there, and says that nothing is left.
        let released = holder.draining.and(&sent.draining).without(&held);
        holder.draining = holder.draining.without(&released);
        holder.contested = held.and(&elsewhere);
        // Its word counts: a balancer before this one gave these, or another one did.
        let claimed = held.without(&elsewhere).without(&holder.leased).without(&holder.draining);
        let mine = claimed.and(&self.mine);
        holder.leased = holder.leased.or(&mine);
        holder.routed = claimed.without(&mine);
        holder.wanted = report.wanted;
        holder.idle = report.idle.and(&sent.leased);
        holder.heard = Some(now);
        for (_, resting) in &mut self.resting {
            *resting = resting.without(&mine);
        }
        if !released.is_empty() {
            self.resting.push((now + REST, released));
        }
    }

    /// Gives, takes back and lets go what is due.
    pub fn step(&mut self, rules: &Rules, now: Instant) {
        self.resting.retain(|(until, blocks)| *until > now && !blocks.is_empty());
        self.share_out_anew(rules.share, now);
        self.let_go(rules, now);
        self.take_back(rules);
        if !self.may_give(rules, now) {
            return;
        }
        self.hold_off = None;
        let preallocated = rules.share.part(rules.preallocated);
        for name in &rules.instances {
            let holder = self.holders.entry(name.clone()).or_default();
            holder.wanted = rules.share.part(holder.wanted);
        }
        self.give(rules, |_, has, _| preallocated.saturating_sub(has));
        let alone = rules.instances.len() == 1;
        self.give(rules, |wanted, has, free| {
            let extra = has.saturating_sub(preallocated);
            // What is left free grows less by what is given, too.
            let room = (AGAINST_FREE * free).saturating_sub(extra).div_ceil(AGAINST_FREE + 1);
            wanted.min(if alone { free } else { room })
        });
        // Until it says so again.
        self.holders.values_mut().for_each(|holder| holder.wanted = 0);
    }

    /// Another list of balancers: what is whose to give is other.
    fn share_out_anew(&mut self, share: Share, now: Instant) {
        if share == self.share {
            return;
        }
        (self.share, self.mine) = (share, share.blocks());
        // Who had this balancer's part until now may have given of it.
        self.hold_off = Some(now + HOLD_OFF);
        for holder in self.holders.values_mut() {
            holder.heard = None;
            let (all, draining) = (holder.leased.or(&holder.routed), holder.draining.and(&self.mine));
            holder.leased = all.and(&self.mine);
            holder.routed = all.or(&holder.draining).without(&holder.leased).without(&draining);
            holder.draining = draining;
        }
    }

    /// Instances that are not in the file any more.
    fn let_go(&mut self, rules: &Rules, now: Instant) {
        for (name, holder) in &mut self.holders {
            if !rules.instances.contains(name) {
                holder.draining = holder.draining.or(&std::mem::take(&mut holder.leased));
            }
        }
        let resting = &mut self.resting;
        self.holders.retain(|name, holder| {
            let is_known = rules.known.contains(name) || rules.instances.contains(name);
            if !is_known && !holder.draining.is_empty() {
                resting.push((now + REST, std::mem::take(&mut holder.draining)));
            }
            is_known
        });
    }

    /// What is idle beyond the preallocation, the highest first.
    fn take_back(&mut self, rules: &Rules) {
        let preallocated = rules.share.part(rules.preallocated);
        for holder in self.holders.values_mut().filter(|holder| holder.wanted == 0) {
            let surplus = holder.leased.len().saturating_sub(preallocated);
            let idle: Blocks = holder.leased.and(&holder.idle).iter().rev().take(surplus).collect();
            holder.leased = holder.leased.without(&idle);
            holder.draining = holder.draining.or(&idle);
        }
    }

    fn may_give(&self, rules: &Rules, now: Instant) -> bool {
        let is_heard = |name| self.holders.get(name).is_some_and(|holder| holder.heard.is_some());
        self.hold_off.is_none_or(|until| until <= now) || rules.instances.iter().all(is_heard)
    }

    /// To those who have least first, eight at a time, as long as `due` says so of what they want, what they have and how much is
    /// free.
    fn give(&mut self, rules: &Rules, due: impl Fn(usize, usize, usize) -> usize) {
        let mut free: VecDeque<_> = self.free().iter().collect();
        let having = self.holders.iter().filter(|(name, _)| rules.instances.contains(name));
        let mut having: BinaryHeap<_> =
            having.map(|(name, holder)| Reverse((holder.leased.len(), name.clone()))).collect();
        while let Some(Reverse((has, name))) = having.pop() {
            let Some(holder) = self.holders.get_mut(&name) else { continue };
            let due = due(holder.wanted, has, free.len()).min(EIGHT).min(free.len());
            // What is due does not grow while others are given something.
            if due == 0 {
                continue;
            }
            free.drain(..due).for_each(|block| holder.leased.insert(block));
            holder.wanted = holder.wanted.saturating_sub(due);
            having.push(Reverse((has + due, name)));
        }
    }

    /// What may be given now.
    fn free(&self) -> Blocks {
        let taken =
            self.holders.values().map(Holder::all).chain(self.resting.iter().map(|(_, one)| one.clone()));
        taken.fold(self.mine.clone(), |free, taken| free.without(&taken))
    }
}
