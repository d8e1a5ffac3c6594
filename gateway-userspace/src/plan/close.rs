//! The end of windows.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, buckets};

/// What is known to be over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Buckets all of whose living flows are at this owner.
    pub buckets: BTreeMap<u32, u16>,
    /// By the affinity after a switch, all living flows are at their buckets' owners. `buckets` says so of each bucket then.
    pub affinity: bool,
}

/// The plan after the windows that evidence closes. A bucket that got another owner since the evidence was gathered stays as
/// it is; so does every bucket while an affinity is switched, for flows of others are looked for in it: they close with the
/// switch.
pub fn close(running: &Plan, evidence: &Evidence) -> Plan {
    let mut plan = Plan { forget: BTreeSet::new(), closed: BTreeSet::new(), ..running.clone() };
    if evidence.affinity {
        plan.config.affinity_before = plan.config.affinity;
    }
    if plan.config.affinity != plan.config.affinity_before {
        return plan;
    }
    for (&bucket, &owner) in &evidence.buckets {
        let place = bucket as usize;
        let (Some(word), Some(window)) = (plan.ring.get_mut(place), plan.windows.get_mut(place)) else {
            continue;
        };
        if word.is_moved() && word.current() == owner {
            (*word, *window) = buckets::close((*word, *window));
            plan.closed.insert(bucket);
        }
    }
    plan
}
