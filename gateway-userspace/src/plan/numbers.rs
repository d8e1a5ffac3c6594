//! Small numbers for names, kept as long as the name is there.

use std::{collections::BTreeMap, collections::BTreeSet};

use super::Error;

/// Numbers from 1 for `wanted`: those that had one keep it, the others get the lowest that was *nobody's before*. So a number
/// that is given up is not given away in the same step, while packets may still meet it in a table.
pub(super) fn keep<K: Ord + Clone>(
    before: &BTreeMap<K, u16>,
    wanted: impl IntoIterator<Item = K>,
    what: &'static str,
    limit: u32,
) -> Result<BTreeMap<K, u16>, Error> {
    let mut taken: BTreeSet<u16> = before.values().copied().collect();
    let mut numbers = BTreeMap::new();
    for name in wanted {
        let number = match before.get(&name).or_else(|| numbers.get(&name)) {
            Some(&number) => number,
            None => (1..limit as u16)
                .find(|n| !taken.contains(n))
                .ok_or(Error::NoNumber { what, limit: limit - 1 })?,
        };
        taken.insert(number);
        numbers.insert(name, number);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_and_never_handed_over_in_the_same_step() {
        let first = keep(&BTreeMap::new(), ["a", "b"], "things", 8).unwrap();
        assert_eq!(first, BTreeMap::from([("a", 1), ("b", 2)]));
        let second = keep(&first, ["b", "c"], "things", 8).unwrap();
        assert_eq!(second, BTreeMap::from([("b", 2), ("c", 3)]));
        let third = keep(&second, ["b", "c", "d"], "things", 8).unwrap();
        assert_eq!(third["d"], 1);
    }

    #[test]
    fn running_out_is_an_error() {
        assert!(matches!(keep(&BTreeMap::new(), 0..3, "things", 3), Err(Error::NoNumber { limit: 2, .. })));
    }
}
