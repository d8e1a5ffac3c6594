//! An instance's side: which blocks of one public VIP its flows may begin on. Time is an argument.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    blocks::{Block, Blocks, PORTS},
    wire::{VipOrder, VipReport},
};

/// A balancer that was not heard for so long is not waited for: it may be gone, and whoever takes its place learns first.
const LIVING: Duration = Duration::from_secs(5);
/// More is asked for when less than one in so many of the ports is left for the busiest destination.
const WATERMARK: u32 = 4;
/// And what is asked for is a multiple of so many blocks.
const EIGHT: usize = 8;

/// What the kernel says of the ports of one VIP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Use {
    /// Blocks with a flow.
    pub blocks: Blocks,
    /// Ports with a flow.
    pub ports: u32,
    /// Ports with a flow to the destination that has the most.
    pub busiest: u32,
    /// Flows that found no port since this was last asked.
    pub failed: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Holding {
    /// How many balancers there are.
    balancers: usize,
    since: Instant,
    /// When a balancer was heard last.
    now: Instant,
    /// By the address that each asks from.
    words: BTreeMap<IpAddr, Word>,
    /// Flows may begin here.
    in_use: Blocks,
    /// They may not any more, and some may be there yet.
    leaving: Blocks,
    /// Since when a block that is held has had no flow.
    quiet: BTreeMap<Block, Instant>,
    /// What the kernel said last.
    seen: Use,
}

/// What a balancer said last.
#[derive(Debug, Clone)]
struct Word {
    order: VipOrder,
    at: Instant,
}

impl Word {
    fn has(&self) -> Blocks {
        self.order.leased.or(&self.order.routed).or(&self.order.draining)
    }
}

impl Holding {
    /// What the kernel's tables have: blocks on which flows may begin, and blocks with flows.
    pub fn go_on(balancers: usize, in_use: Blocks, with_flows: &Blocks, now: Instant) -> Self {
        Self {
            balancers,
            since: now,
            now,
            words: BTreeMap::new(),
            leaving: with_flows.without(&in_use),
            in_use,
            quiet: BTreeMap::new(),
            seen: Use::default(),
        }
    }

    /// A changed file has another number of them.
    pub const fn has_balancers(&mut self, count: usize) {
        self.balancers = count;
    }

    /// Where flows may begin.
    pub const fn usable(&self) -> &Blocks {
        &self.in_use
    }

    /// Where there may be flows, and none begins.
    pub const fn leaving(&self) -> &Blocks {
        &self.leaving
    }

    /// A balancer's order. What [`Self::usable`] says after it has to be in the kernel's tables before [`Self::used`] is told what
    /// is used.
    pub fn told(&mut self, from: IpAddr, order: VipOrder, now: Instant) {
        self.words.insert(from, Word { order, at: now });
        self.now = now;
        let (leased, draining) = (self.leased(), self.draining());
        self.leaving = self.leaving.or(&self.in_use.and(&draining));
        self.in_use = self.in_use.without(&draining);
        let agreed = leased.without(&draining).and(&self.agreed(&leased));
        self.leaving = self.leaving.without(&agreed);
        self.in_use = self.in_use.or(&agreed);
    }

    /// By whomever, also one that is gone since.
    fn leased(&self) -> Blocks {
        self.words.values().fold(Blocks::default(), |all, word| all.or(&word.order.leased))
    }

    /// One that is gone does not hold up who takes its place.
    fn draining(&self) -> Blocks {
        self.living().fold(Blocks::default(), |all, word| all.or(&word.order.draining))
    }

    /// What every balancer that lives has in its table.
    fn agreed(&self, leased: &Blocks) -> Blocks {
        // In the beginning those count as living that have not been heard.
        if self.words.len() < self.balancers && self.now.saturating_duration_since(self.since) <= LIVING {
            return Blocks::default();
        }
        self.living().fold(leased.clone(), |agreed, word| agreed.and(&word.has()))
    }

    fn living(&self) -> impl Iterator<Item = &Word> {
        self.words.values().filter(|word| self.now.saturating_duration_since(word.at) <= LIVING)
    }

    /// What the kernel says is used. Blocks that are to be parted with and have no flow any more are given back with it.
    pub fn used(&mut self, seen: Use, now: Instant) {
        self.leaving = self.leaving.and(&seen.blocks);
        let held = self.in_use.or(&self.leaving);
        self.quiet.retain(|&block, _| held.contains(block) && !seen.blocks.contains(block));
        for block in held.without(&seen.blocks).iter() {
            self.quiet.entry(block).or_insert(now);
        }
        self.seen = seen;
    }

    /// What the balancer that asked from there is answered; a block is idle without a flow for `idle_after`.
    pub fn report(&mut self, from: IpAddr, idle_after: Duration, now: Instant) -> VipReport {
        let held = self.in_use.or(&self.leaving).or(&self.waiting());
        if let Some(word) = self.words.get_mut(&from) {
            // What others gave and is not in the answer goes from its table with it.
            word.order.routed = word.order.routed.and(&held);
        }
        let is_idle = |(_, since): &(&Block, &Instant)| now.saturating_duration_since(**since) >= idle_after;
        let idle: Blocks = self.quiet.iter().filter(is_idle).map(|(&block, _)| block).collect();
        VipReport {
            held,
            idle: idle.and(&self.in_use),
            wanted: self.wanted(),
            allocated: ports(&self.in_use),
            used: self.seen.ports,
            busiest: self.seen.busiest,
        }
    }

    /// Leased, and not in every balancer's table yet.
    fn waiting(&self) -> Blocks {
        self.leased().without(&self.draining()).without(&self.in_use).without(&self.leaving)
    }

    /// As much again where there is little left, so that demand that doubles each second is met.
    fn wanted(&self) -> usize {
        let blocks = self.in_use.or(&self.waiting()).len();
        let allocated = blocks as u32 * PORTS;
        let left = allocated.saturating_sub(self.seen.busiest);
        let is_low = self.seen.failed > 0 || left < (allocated / WATERMARK).max(PORTS);
        // Before the first lease there is nothing to judge by: what is preallocated comes by itself.
        if is_low && blocks > 0 { blocks.next_multiple_of(EIGHT) } else { 0 }
    }
}

fn ports(blocks: &Blocks) -> u32 {
    blocks.len() as u32 * PORTS
}
