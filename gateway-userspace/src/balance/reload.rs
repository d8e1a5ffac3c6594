//! What a running balancer can take up from a changed file. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use crate::model::Model;

/// Why a file is not taken up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} changed from {from} to {to}; that takes a restart (`systemctl restart`, or stop and start `gateway`)"
)]
pub(super) struct Refusal {
    key: &'static str,
    from: String,
    to: String,
}

/// Refuses what cannot change under living flows: where packets come in, how they are sent on, how they are spread.
pub(super) fn check(running: &Model, new: &Model) -> Result<(), Refusal> {
    let (old, new) = (&running.balancer, &new.balancer);
    let keys = [
        ("balancer.interface", old.interfaces.to_string(), new.interfaces.to_string()),
        ("balancer.forwarding", format!("{:?}", old.forwarding), format!("{:?}", new.forwarding)),
        ("balancer.seed", old.seed.clone(), new.seed.clone()),
    ];
    match keys.into_iter().find(|(_, from, to)| from != to) {
        None => Ok(()),
        Some((key, from, to)) => Err(Refusal { key, from: from.to_lowercase(), to: to.to_lowercase() }),
    }
}

/// VIPs that come and go with a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VipChanges {
    pub(super) added: Vec<IpAddr>,
    pub(super) removed: Vec<IpAddr>,
}

impl VipChanges {
    pub(super) fn between(running: &Model, new: &Model) -> Self {
        let before: BTreeSet<_> = running.vip.all().collect();
        let after: BTreeSet<_> = new.vip.all().collect();
        Self {
            added: after.difference(&before).copied().collect(),
            removed: before.difference(&after).copied().collect(),
        }
    }
}

/// `new` with the VIPs of `running` besides: what the tables must say while addresses come and go, so that no packet
/// for a VIP is ever taken for ordinary traffic of this host.
pub(super) fn with_both_vips(running: &Model, new: &Model) -> Model {
    let mut both = new.clone();
    let VipChanges { removed, .. } = VipChanges::between(running, new);
    both.vip.private.extend(running.vip.private.iter().filter(|vip| removed.contains(vip)));
    both.vip.public.extend(running.vip.public.iter().filter(|vip| removed.contains(vip)));
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Forwarding, testing::model};

    #[test]
    fn instances_weights_and_networks_are_taken_up() {
        let mut new = model(&["gw-2", "gw-3"]);
        new.instances[0].weight = 1;
        new.network.peered.push("10.8.0.0/16".parse().unwrap());
        assert_eq!(check(&model(&["gw-1", "gw-2"]), &new), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_key_both_values_and_the_remedy() {
        let mut new = model(&["gw-1"]);
        new.balancer.forwarding = Forwarding::Ipip;
        let refusal = check(&model(&["gw-1"]), &new).unwrap_err().to_string();
        assert!(
            refusal.starts_with("balancer.forwarding changed from l2 to ipip; that takes a restart"),
            "{refusal}"
        );
    }

    #[test]
    fn r20_a_vip_that_goes_stays_known_until_its_address_is_gone() {
        let running = model(&["gw-1"]);
        let mut new = model(&["gw-1"]);
        new.vip.public = vec!["203.0.113.6".parse().unwrap()];
        let changes = VipChanges::between(&running, &new);
        assert_eq!(changes.added, new.vip.public);
        assert_eq!(changes.removed, running.vip.public);
        let both = with_both_vips(&running, &new);
        assert_eq!(both.vip.private, running.vip.private);
        assert_eq!(both.vip.public, [new.vip.public[0], running.vip.public[0]]);
    }
}
