//! Who owns each bucket, and who owned it before.

use std::collections::{BTreeMap, BTreeSet};

use gateway_ebpf::layout::{BUCKETS, Bucket};

use super::{Desired, takes_new_flows};
use crate::{
    maglev::{self, Member},
    model::InstanceName,
};

/// The owner of each bucket; 0 everywhere if nobody takes new flows.
pub(super) fn owners(desired: &Desired, numbers: &BTreeMap<InstanceName, u16>) -> Vec<u16> {
    let members: Vec<Member<'_>> = takes_new_flows(desired)
        .map(|instance| Member {
            name: &instance.name.0,
            number: numbers[&instance.name],
            weight: instance.weight,
        })
        .collect();
    let ring = maglev::ring(&members, &desired.model.balancer.seed);
    if ring.is_empty() { vec![0; BUCKETS] } else { ring }
}

/// The next words. A bucket that changes hands is marked as moved, and stays so: `previous` is the oldest owner of its window,
/// and notes cover the owners since. It stays marked even when it comes back to `previous`, for there are notes to honour.
///
/// Windows close on evidence that no living flow disagrees with `current`; nobody brings such evidence yet, so they stay open
/// until the owner's drain is over. That costs a moved bucket some nanoseconds a packet, and no flow.
pub(super) fn step(running: Option<&[Bucket]>, owners: &[u16], ended: &BTreeSet<u16>) -> Vec<Bucket> {
    let Some(running) = running else { return owners.iter().map(|&owner| Bucket::settled(owner)).collect() };
    running
        .iter()
        .zip(owners)
        .map(|(&word, &owner)| {
            let previous = if word.is_moved() { word.previous() } else { word.current() };
            if previous == 0 || ended.contains(&previous) {
                // Nobody is left whose flows are not noted.
                return if word.is_moved() { Bucket::moved(owner, owner) } else { Bucket::settled(owner) };
            }
            if word.is_moved() || owner != word.current() { Bucket::moved(previous, owner) } else { word }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: BTreeSet<u16> = BTreeSet::new();

    fn after(word: Bucket, owner: u16, ended: &BTreeSet<u16>) -> Bucket {
        step(Some(&[word]), &[owner], ended)[0]
    }

    #[test]
    fn a_bucket_that_keeps_its_owner_is_left_alone() {
        assert_eq!(after(Bucket::settled(3), 3, &NOBODY), Bucket::settled(3));
    }

    #[test]
    fn several_changes_in_one_window_keep_the_oldest_owner() {
        let word = after(Bucket::settled(1), 2, &NOBODY);
        assert_eq!(word, Bucket::moved(1, 2));
        assert_eq!(after(word, 3, &NOBODY), Bucket::moved(1, 3));
    }

    #[test]
    fn a_bucket_that_comes_back_stays_moved() {
        assert_eq!(after(Bucket::moved(1, 2), 1, &NOBODY), Bucket::moved(1, 1));
    }

    #[test]
    fn a_previous_owner_whose_drain_is_over_is_named_no_more() {
        assert_eq!(after(Bucket::moved(1, 2), 2, &BTreeSet::from([1])), Bucket::moved(2, 2));
    }

    #[test]
    fn a_bucket_that_was_nobodys_has_nothing_to_remember() {
        assert_eq!(after(Bucket::settled(0), 2, &NOBODY), Bucket::settled(2));
    }

    #[test]
    fn the_last_instance_that_drains_keeps_its_flows() {
        assert_eq!(after(Bucket::settled(1), 0, &NOBODY), Bucket::moved(1, 0));
    }
}
