//! Which of several upstreams gets a request. Pure: sets are bits, and nothing is allocated.

/// Some of a route's upstreams, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u64);

/// By what one of them is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The one with less load of two that these bits pick.
    Load(u64),
    /// The one whose turn it is.
    Turn(u32),
    /// What a request is known by: the same upstream for the same number.
    Key(u64),
}

impl Set {
    /// The most members.
    pub(super) const MOST: usize = 64;

    /// None.
    pub(super) const EMPTY: Self = Self(0);

    /// The first so many.
    pub(super) fn first(count: usize) -> Self {
        Self(if count >= Self::MOST { u64::MAX } else { (1 << count) - 1 })
    }

    /// And that one.
    #[must_use]
    pub(super) fn with(self, number: usize) -> Self {
        Self(self.0 | 1 << number)
    }

    /// But none of these.
    #[must_use]
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of both.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has none.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many it has.
    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// By number.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let number = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(number)
        })
    }

    fn nth(self, place: u32) -> Option<usize> {
        self.iter().nth(place as usize)
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<T: IntoIterator<Item = usize>>(numbers: T) -> Self {
        numbers.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Those from which to choose: of the nearest tier that has one in service. If there is none in service at all, whoever is
/// there: what is known of them may be wrong, and then an answer is won.
pub(super) fn candidates(tiers: &[Set], in_service: Set, tried: Set) -> Set {
    let nearest =
        |good: Set| tiers.iter().map(|tier| tier.and(good).without(tried)).find(|tier| !tier.is_empty());
    match in_service.is_empty() {
        false => nearest(in_service),
        true => nearest(Set(u64::MAX)),
    }
    .unwrap_or(Set::EMPTY)
}

/// One of `candidates`. `load` and `seed` are asked by number; a seed stays with its upstream wherever it stands in the file.
pub(super) fn choose(
    candidates: Set,
    by: By,
    load: impl Fn(usize) -> u32,
    seed: impl Fn(usize) -> u64,
) -> Option<usize> {
    let count = candidates.len();
    if count <= 1 {
        return candidates.nth(0);
    }
    match by {
        By::Load(bits) => {
            let (one, other) = two_of(count, bits);
            let (one, other) = (candidates.nth(one)?, candidates.nth(other)?);
            Some(if load(other) < load(one) { other } else { one })
        }
        By::Turn(turn) => candidates.nth(turn % count),
        // Rendezvous: who goes takes only its own keys along.
        By::Key(key) => candidates.iter().max_by_key(|number| mixed(key ^ seed(*number))),
    }
}

/// Two different places out of `count`, each pair as likely as any.
fn two_of(count: u32, bits: u64) -> (u32, u32) {
    let below = |bits: u64, count: u32| (((bits & 0xffff_ffff) * u64::from(count)) >> 32) as u32;
    let one = below(bits, count);
    let other = below(bits >> 32, count - 1);
    (one, if other >= one { other + 1 } else { other })
}

/// 64 bits from 64 bits, each of which changes half of them (SplitMix64's finalizer).
pub(in crate::proxy) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(numbers: &[usize]) -> Set {
        numbers.iter().copied().collect()
    }

    #[test]
    fn r72_the_nearest_tier_in_service_serves_and_then_the_next() {
        let tiers = [set(&[0, 1]), set(&[2]), set(&[3, 4])];
        let all = Set::first(5);
        for (down, tried, expected) in [
            (&[][..], &[][..], &[0, 1][..]),
            (&[0], &[], &[1]),
            (&[0], &[1], &[2]),
            (&[0, 1], &[], &[2]),
            (&[0, 1, 2], &[], &[3, 4]),
            (&[0, 1, 2], &[3, 4], &[]),
            (&[0, 1, 2, 3, 4], &[], &[0, 1]),
            (&[0, 1, 2, 3, 4], &[0, 1], &[2]),
            (&[], &[0, 1, 2, 3, 4], &[]),
        ] {
            let found = candidates(&tiers, all.without(set(down)), set(tried));
            assert_eq!(found, set(expected), "down {down:?}, tried {tried:?}");
        }
    }

    #[test]
    fn turns_are_even_among_those_that_are_there() {
        let mut got = [0; 6];
        for turn in 0..300 {
            got[choose(set(&[1, 3, 5]), By::Turn(turn), |_| 0, |_| 0).unwrap()] += 1;
        }
        assert_eq!(got, [0, 100, 0, 100, 0, 100]);
    }

    #[test]
    fn two_of_many_are_even_and_the_less_loaded_wins() {
        let mut got = [0_u32; 8];
        for seed in 0..80_000_u64 {
            got[choose(Set::first(8), By::Load(mixed(seed)), |_| 0, |_| 0).unwrap()] += 1;
        }
        assert!(got.iter().all(|count| (9_500..10_500).contains(count)), "{got:?}");
        // The most loaded of all is never better than another one.
        let loaded = |number| u32::from(number == 5) * 9;
        let hit =
            (0..1_000).any(|seed| choose(Set::first(8), By::Load(mixed(seed)), loaded, |_| 0) == Some(5));
        assert!(!hit);
    }

    proptest! {
        #[test]
        fn who_is_chosen_is_one_of_them(bits: u64, random: u64, turn: u32, loads: [u8; 8]) {
            for by in [By::Load(random), By::Turn(turn), By::Key(random)] {
                let chosen = choose(Set(bits), by, |n| loads[n % 8].into(), |n| mixed(n as u64));
                prop_assert_eq!(chosen.is_none(), bits == 0);
                prop_assert!(chosen.is_none_or(|number| bits >> number & 1 == 1));
            }
        }

        #[test]
        fn the_two_are_never_the_same(count in 2..=64_u32, bits: u64) {
            let (one, other) = two_of(count, bits);
            prop_assert!(one != other && one < count && other < count);
        }

        /// Who goes takes only its own keys along, and brings them back.
        #[test]
        fn a_key_stays_where_it_is_while_that_is_there(count in 2..=64_usize, gone: usize, key: u64) {
            let seed = |number: usize| mixed(number as u64 + 1);
            let all = Set::first(count);
            let before = choose(all, By::Key(key), |_| 0, seed);
            let gone = gone % count;
            let after = choose(all.without(set(&[gone])), By::Key(key), |_| 0, seed);
            prop_assert!(before == Some(gone) || before == after);
        }

        #[test]
        fn candidates_are_untried_and_of_one_tier(split in 1..64_usize, down: u64, tried: u64) {
            let all = Set::first(64);
            let tiers = [Set::first(split), all.without(Set::first(split))];
            let found = candidates(&tiers, all.without(Set(down)), Set(tried));
            prop_assert!(found.and(Set(tried)).is_empty());
            prop_assert!(tiers.iter().any(|tier| found.without(*tier).is_empty()));
            prop_assert!(down == u64::MAX || found.and(Set(down)).is_empty());
        }
    }
}
