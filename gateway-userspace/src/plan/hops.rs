//! What instances are called in a packet's list of hops.

use std::collections::BTreeMap;

use super::Error;
use crate::{maglev, model::InstanceName};

/// The same on every host that has the seed, and never 0. Balancers write it, instances look it up.
pub fn hop_id(seed: &str, name: &InstanceName) -> u32 {
    // One number of 2³² is given to two: as likely a collision as any other.
    (maglev::hash(&[seed.as_bytes(), b"hop", name.0.as_bytes()]) as u32).max(1)
}

/// Whether all names come to ids of their own.
pub(super) fn check<'n>(seed: &str, names: impl IntoIterator<Item = &'n InstanceName>) -> Result<(), Error> {
    let mut known = BTreeMap::new();
    for name in names {
        if let Some(other) = known.insert(hop_id(seed, name), name) {
            return Err(Error::HopId { one: other.clone(), other: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_a_collision_names_both() {
        let name = |text: &str| InstanceName(text.into());
        assert_ne!(hop_id("contoso", &name("gw-1")), hop_id("contoso", &name("gw-2")));
        assert_ne!(hop_id("contoso", &name("gw-1")), hop_id("other", &name("gw-1")));
        // Found by trying names: the birthday of 2³² is at some 77,000.
        let mut known = BTreeMap::new();
        let (one, other) = (0u32..)
            .find_map(|n| {
                known.insert(hop_id("contoso", &name(&format!("gw-{n}"))), n).map(|other| (other, n))
            })
            .map(|(one, other)| (name(&format!("gw-{one}")), name(&format!("gw-{other}"))))
            .unwrap();
        assert_eq!(
            check("contoso", [&one, &other]),
            Err(Error::HopId { one: one.clone(), other: other.clone() })
        );
        assert_eq!(check("another seed", [&one, &other]), Ok(()));
    }
}
