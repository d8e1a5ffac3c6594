//! The Maglev ring (Eisenbud et al., NSDI 2016, §3.4), with weights. Pure.
//!
//! Every node that has the same names, weights and seed builds the same ring, in whatever order the instances come.

use gateway_ebpf::layout::BUCKETS;

/// Something that takes buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Places it on the ring.
    pub name: &'a str,
    /// What the ring's buckets name.
    pub number: u16,
    /// Its share against the others'; 0 takes nothing.
    pub weight: u16,
}

/// The owner of each of [`BUCKETS`] buckets; empty if nobody has a weight.
///
/// A member's buckets are within one of its exact share: members take turns by credit, so that none waits for the end.
pub fn ring(members: &[Member<'_>], seed: &str) -> Vec<u16> {
    let mut turns: Vec<Turn> = sorted(members)
        .into_iter()
        .filter(|member| member.weight > 0)
        .map(|member| Turn::new(member, seed))
        .collect();
    let Some(heaviest) = turns.iter().map(|turn| turn.weight).max() else { return Vec::new() };
    // 0 is nobody's number.
    let mut owners = vec![0; BUCKETS];
    let mut left = BUCKETS;
    let mut rounds = Rounds::new(turns.len());
    for (index, turn) in turns.iter_mut().enumerate() {
        rounds.enter(turn.next_round(0, heaviest), index);
    }
    let (mut round, mut who) = (0, Vec::new());
    loop {
        round += 1;
        rounds.of(round, &mut who);
        for &index in &who {
            let turn = &mut turns[index];
            let bucket = turn.free_bucket(&owners);
            owners[bucket] = turn.number;
            left -= 1;
            if left == 0 {
                return owners;
            }
            rounds.enter(turn.next_round(round, heaviest), index);
        }
    }
}

fn sorted<'a>(members: &[Member<'a>]) -> Vec<Member<'a>> {
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|member| member.name);
    members
}

/// Whose turn it is in which round. With one member far heavier than the others most of them have none in most rounds, and to
/// look at each in every round took thirty times as long.
struct Rounds {
    /// By round, one more than the index of a member whose turn it is; 0: nobody's.
    first: Vec<u16>,
    /// By member, the next one of the same round, likewise.
    next: Vec<u16>,
}

impl Rounds {
    fn new(members: usize) -> Self {
        // There are no more rounds than buckets: the heaviest has a turn in each.
        Self { first: vec![0; BUCKETS + 1], next: vec![0; members] }
    }

    fn enter(&mut self, round: usize, index: usize) {
        // Later than the last round: never.
        let Some(first) = self.first.get_mut(round) else { return };
        self.next[index] = *first;
        // Members have numbers of 16 bits, of which 0 is nobody's.
        *first = index as u16 + 1;
    }

    /// In the order of members.
    fn of(&self, round: usize, who: &mut Vec<usize>) {
        who.clear();
        let mut one = self.first[round];
        while one != 0 {
            who.push(usize::from(one) - 1);
            one = self.next[usize::from(one) - 1];
        }
        who.sort_unstable();
    }
}

/// A member's permutation of the buckets, and how far it is in it.
struct Turn {
    number: u16,
    weight: u32,
    credit: u32,
    bucket: usize,
    skip: usize,
}

impl Turn {
    fn new(member: Member<'_>, seed: &str) -> Self {
        let start = hash(&[seed.as_bytes(), b"start", member.name.as_bytes()]);
        let skip = hash(&[seed.as_bytes(), b"skip", member.name.as_bytes()]);
        Self {
            number: member.number,
            weight: u32::from(member.weight),
            credit: 0,
            bucket: (start % BUCKETS as u64) as usize,
            // The number of buckets is prime: any step but 0 visits them all.
            skip: (skip % (BUCKETS as u64 - 1)) as usize + 1,
        }
    }

    /// The round of its next turn after `round`: where its credit, of which each round adds `weight`, comes to `heaviest`.
    fn next_round(&mut self, round: usize, heaviest: u32) -> usize {
        let rounds = (heaviest - self.credit).div_ceil(self.weight);
        self.credit = self.credit + rounds * self.weight - heaviest;
        round + rounds as usize
    }

    fn free_bucket(&mut self, owners: &[u16]) -> usize {
        loop {
            let bucket = self.bucket;
            self.bucket += self.skip;
            if self.bucket >= BUCKETS {
                self.bucket -= BUCKETS;
            }
            if owners[bucket] == 0 {
                return bucket;
            }
        }
    }
}

/// 64 bits of some byte strings, the same on every machine and in every version: FNV-1a, then MurmurHash3's finalizer. Parts
/// are told apart by a byte that occurs in none (names and seeds are text).
pub fn hash(parts: &[&[u8]]) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for &byte in part.iter().chain(&[0xff]) {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("gw-{n}")).collect()
    }

    fn members<'a>(names: &'a [String], weights: &[u16]) -> Vec<Member<'a>> {
        names
            .iter()
            .zip(weights.iter().cycle())
            .enumerate()
            .map(|(i, (name, &weight))| Member { name, number: i as u16 + 1, weight })
            .collect()
    }

    fn buckets_of(ring: &[u16], number: u16) -> usize {
        ring.iter().filter(|&&owner| owner == number).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_ring_is_filled_and_shares_follow_weights_within_one_per_cent(weights in prop::collection::vec(1u16..=1000, 1..40)) {
            let names = names(weights.len());
            let ring = ring(&members(&names, &weights), "contoso");
            prop_assert_eq!(ring.len(), BUCKETS);
            let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            for (i, &weight) in weights.iter().enumerate() {
                let ideal = BUCKETS as f64 * f64::from(weight) / sum;
                let got = buckets_of(&ring, i as u16 + 1) as f64;
                // One bucket is more than one per cent of the smallest shares.
                prop_assert!((got - ideal).abs() <= (ideal * 0.01).max(1.5), "weight {} of {}: {} for {}", weight, sum, got, ideal);
            }
        }

        #[test]
        fn the_order_of_instances_does_not_matter(order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle()) {
            let names = names(12);
            let straight = members(&names, &[100, 50, 200]);
            let shuffled: Vec<_> = order.iter().map(|&i| straight[i]).collect();
            prop_assert_eq!(ring(&straight, "contoso"), ring(&shuffled, "contoso"));
        }
    }

    /// Balancers of different versions stand side by side.
    #[test]
    fn the_rings_are_those_of_every_version() {
        let skewed: Vec<u16> = (0..1000).map(|n| if n == 0 { u16::MAX } else { n * 37 % 300 + 1 }).collect();
        let fingerprints =
            [(3, vec![100]), (40, vec![1, 50, 300]), (1000, skewed)].map(|(count, weights)| {
                let names = names(count);
                let ring = ring(&members(&names, &weights), "contoso");
                hash(&[&ring.iter().flat_map(|owner| owner.to_be_bytes()).collect::<Vec<_>>()])
            });
        assert_eq!(
            fingerprints,
            [2_368_354_490_190_849_044, 9_731_243_614_414_000_446, 8_084_586_387_021_514_845]
        );
    }

    #[test]
    fn removing_one_moves_less_than_1_2_of_the_ideal() {
        for count in [3, 10, 30] {
            let names = names(count);
            let all = members(&names, &[100]);
            let before = ring(&all, "contoso");
            for gone in [0, count / 2, count - 1] {
                let mut rest = all.clone();
                let gone = rest.remove(gone).number;
                let after = ring(&rest, "contoso");
                let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
                let ideal = buckets_of(&before, gone);
                assert!(
                    (moved as f64) < ideal as f64 * 1.2,
                    "{count} instances: {moved} moved, ideal {ideal}"
                );
            }
        }
    }

    #[test]
    fn another_seed_is_another_ring() {
        let names = names(3);
        assert_ne!(ring(&members(&names, &[1]), "a"), ring(&members(&names, &[1]), "b"));
    }

    #[test]
    fn nobody_gives_an_empty_ring() {
        assert!(ring(&[], "contoso").is_empty());
        assert!(ring(&[Member { name: "gw-1", number: 1, weight: 0 }], "contoso").is_empty());
    }
}
