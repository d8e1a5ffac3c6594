//! Who owns each bucket, and who owned it before.

use std::collections::{BTreeMap, BTreeSet};

use gateway_ebpf::layout::{BUCKETS, Bucket, OWNERS, Window};

use super::{Desired, takers};
use crate::{
    maglev::{self, Member},
    model::InstanceName,
};

/// The owner of each bucket; 0 everywhere if nobody takes new flows.
pub(super) fn owners(desired: &Desired, numbers: &BTreeMap<InstanceName, u16>) -> Vec<u16> {
    let members: Vec<Member<'_>> = takers(desired)
        .map(|(instance, weight)| Member { name: &instance.name.0, number: numbers[&instance.name], weight })
        .collect();
    let ring = maglev::ring(&members, &desired.model.balancer.seed);
    if ring.is_empty() { vec![0; BUCKETS] } else { ring }
}

/// What changes beside the owners.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Numbers that are nobody's any more.
    pub ended: &'a BTreeSet<u16>,
    /// Instances at whose addresses nobody answers.
    pub gone: &'a BTreeSet<u16>,
    /// All buckets are in a window, because the affinity is switched.
    pub switched: bool,
}

/// A bucket's word, and all owners of its window; none outside one.
pub type Held = (Bucket, Window);

/// The next state of a bucket that gets this owner, 0: nobody.
///
/// One that changes hands is marked as moved, and stays so: `previous` is the oldest owner of its window, and notes cover the
/// owners since. It stays marked even when it comes back to `previous`, for there are notes to honour. Where the oldest owner
/// is gone, the current one takes its place: what is not noted is lost, or begins.
///
/// A window closes by [`close`], and by nothing else.
pub fn next((word, window): Held, owner: u16, change: Change<'_>) -> Held {
    let mut owners: Vec<u16> = if word.is_moved() { listed(window) } else { vec![word.current()] };
    let oldest = owners.first().copied().unwrap_or_default();
    let is_moved = word.is_moved()
        || change.switched
        || owner != oldest && oldest != 0 && !change.ended.contains(&oldest);
    owners.retain(|number| *number != 0 && !change.ended.contains(number));
    if !is_moved {
        return (Bucket::settled(owner), Window::default());
    }
    if owners.first() != Some(&oldest) {
        // Nobody is left whose flows are not noted.
        owners.retain(|&number| number != owner);
        owners.insert(0, owner);
    } else if owner != oldest {
        // The latest comes last.
        owners.retain(|&number| number != owner);
        owners.push(owner);
    }
    owners.retain(|&number| number != 0);
    if owners.len() > OWNERS {
        owners.drain(1..=owners.len() - OWNERS);
    }
    if owner != 0 && owners.first().is_some_and(|oldest| change.gone.contains(oldest)) {
        // For good: to whom flows were sent that could not be noted must not change any more.
        owners.retain(|&number| number != owner);
        owners.insert(0, owner);
    }
    let previous = owners.first().copied().unwrap_or(owner);
    (Bucket::moved(previous, owner), packed(&owners))
}

/// The state of a bucket whose window is over: all living flows are the current owner's.
pub fn close((word, _): Held) -> Held {
    (Bucket::settled(word.current()), Window::default())
}

/// [`next`] for all buckets.
pub(super) fn step(
    running: Option<(&[Bucket], &[Window])>,
    owners: &[u16],
    change: Change<'_>,
) -> (Vec<Bucket>, Vec<Window>) {
    match running {
        None => owners.iter().map(|&owner| (Bucket::settled(owner), Window::default())).unzip(),
        Some((words, windows)) => words
            .iter()
            .zip(windows)
            .zip(owners)
            .map(|((&word, &window), &owner)| next((word, window), owner, change))
            .unzip(),
    }
}

fn listed(window: Window) -> Vec<u16> {
    (0..OWNERS).map(|place| window.owner(place)).filter(|&number| number != 0).collect()
}

fn packed(owners: &[u16]) -> Window {
    let word = |half: &mut dyn Iterator<Item = &u16>| {
        (0..).zip(half).fold(0, |word, (place, &number)| word | u64::from(number) << (16 * place))
    };
    let half = OWNERS / 2;
    Window { first: word(&mut owners.iter().take(half)), second: word(&mut owners.iter().skip(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: BTreeSet<u16> = BTreeSet::new();
    const PLAIN: Change<'_> = Change { ended: &NOBODY, gone: &NOBODY, switched: false };

    fn settled(owner: u16) -> Held {
        (Bucket::settled(owner), Window::default())
    }

    fn moved(previous: u16, current: u16, owners: &[u16]) -> Held {
        (Bucket::moved(previous, current), packed(owners))
    }

    fn after(held: Held, owners: &[u16]) -> Held {
        owners.iter().fold(held, |held, &owner| next(held, owner, PLAIN))
    }

    #[test]
    fn a_bucket_that_keeps_its_owner_is_left_alone() {
        assert_eq!(after(settled(3), &[3]), settled(3));
    }

    #[test]
    fn several_changes_in_one_window_keep_the_oldest_owner_and_list_the_others() {
        assert_eq!(after(settled(1), &[2]), moved(1, 2, &[1, 2]));
        assert_eq!(after(settled(1), &[2, 3]), moved(1, 3, &[1, 2, 3]));
        assert_eq!(after(settled(1), &[2, 3, 2]), moved(1, 2, &[1, 3, 2]), "the latest comes last");
    }

    #[test]
    fn a_bucket_that_comes_back_stays_moved() {
        assert_eq!(after(settled(1), &[2, 1]), moved(1, 1, &[1, 2]));
    }

    #[test]
    fn a_window_with_too_many_owners_keeps_the_oldest_and_the_latest() {
        let many: Vec<u16> = (2..=10).collect();
        assert_eq!(after(settled(1), &many), moved(1, 10, &[1, 4, 5, 6, 7, 8, 9, 10]));
    }

    #[test]
    fn an_owner_whose_drain_is_over_is_named_no_more() {
        let ended = BTreeSet::from([1]);
        let change = Change { ended: &ended, ..PLAIN };
        assert_eq!(next(moved(1, 2, &[1, 2]), 2, change), moved(2, 2, &[2]));
        assert_eq!(next(moved(1, 3, &[1, 2, 3]), 3, change), moved(3, 3, &[3, 2]));
        assert_eq!(next(moved(2, 3, &[2, 1, 3]), 3, change), moved(2, 3, &[2, 3]));
        assert_eq!(next(settled(1), 2, change), settled(2));
    }

    #[test]
    fn r82_where_the_oldest_owner_is_gone_the_current_one_takes_its_place_for_good() {
        let gone = BTreeSet::from([1]);
        let change = Change { gone: &gone, ..PLAIN };
        let held = next(settled(1), 2, change);
        assert_eq!(held, moved(2, 2, &[2, 1]));
        assert_eq!(next(held, 3, change), moved(2, 3, &[2, 1, 3]), "flows that found no slot are there");
        assert_eq!(next(held, 2, PLAIN), moved(2, 2, &[2, 1]), "it is back");
        let alone = next(settled(1), 0, change);
        assert_eq!(alone, moved(1, 0, &[1]), "there is nobody else");
        assert_eq!(next(alone, 2, change), moved(2, 2, &[2, 1]));
    }

    #[test]
    fn r80_all_buckets_are_in_a_window_while_the_affinity_is_switched() {
        let change = Change { switched: true, ..PLAIN };
        let held = next(settled(1), 1, change);
        assert_eq!(held, moved(1, 1, &[1]));
        assert_eq!(next(held, 1, PLAIN), held, "until evidence closes it");
        assert_eq!(next(settled(0), 0, change), (Bucket::moved(0, 0), Window::default()));
    }

    #[test]
    fn a_bucket_that_was_nobodys_has_nothing_to_remember() {
        assert_eq!(after(settled(0), &[2]), settled(2));
    }

    #[test]
    fn the_last_instance_that_drains_keeps_its_flows() {
        assert_eq!(after(settled(1), &[0]), moved(1, 0, &[1]));
        assert_eq!(after(settled(1), &[0, 2]), moved(1, 2, &[1, 2]));
    }

    #[test]
    fn a_closed_window_leaves_the_current_owner_alone() {
        assert_eq!(close(moved(1, 2, &[1, 2])), settled(2));
    }
}
