//! The pipeline on the host, over a copy of the tables: what it decided, and on the way there.

use std::cell::RefCell;

use gateway_ebpf::{
    host::{Counters, HostTables},
    pipeline::{self, Verdict},
    reason::Reason,
    step::Step,
    tables::Answered,
};

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// As the program has it. A drop whose sender is told of it is a transmission there: see [`Self::reason`].
    pub verdict: Verdict,
    /// What was counted as a drop, and where: the number of a VIP's or service's scope.
    pub drop: Option<(u16, Reason)>,
    /// What the sender is answered, if anything.
    pub answered: Option<Answered>,
    /// The decisions on the way, in order.
    pub steps: Vec<Step>,
    /// The frame before.
    pub before: Vec<u8>,
    /// The frame as it leaves.
    pub after: Vec<u8>,
}

impl Decision {
    /// Why it was dropped, if it was.
    pub fn reason(&self) -> Option<Reason> {
        self.drop.map(|(_, reason)| reason)
    }

    /// It goes on to an instance.
    pub fn is_forwarded(&self) -> bool {
        let goes_on = matches!(self.verdict, Verdict::Transmit | Verdict::Redirect(_) | Verdict::Deliver);
        let is_its_own = self.drop.is_some() || self.answered.is_some() || self.steps.contains(&Step::Reply);
        goes_on && !is_its_own
    }
}

/// Decides on a frame, as the kernel's programs would. Tables change as theirs would: a SYN to a moved bucket is noted.
pub fn decide(tables: &mut HostTables, frame: Vec<u8>) -> Decision {
    tables.told = Some(RefCell::default());
    tables.counters.take();
    let mut after = frame.clone();
    let verdict = pipeline::balance(&mut after, tables);
    let told = tables.told.take().map(RefCell::into_inner).unwrap_or_default();
    let Counters { drops, answers, .. } = tables.counters.take();
    Decision {
        verdict,
        drop: drops.into_keys().next(),
        answered: answers.into_keys().next(),
        steps: last_word(told),
        before: frame,
        after,
    }
}

/// What the fast program told and left to the slow one is told by that one again.
fn last_word(mut told: Vec<Step>) -> Vec<Step> {
    match told.iter().rposition(|step| *step == Step::Slow) {
        Some(place) => told.split_off(place),
        None => told,
    }
}
