//! What a running balancer can take up from a changed file. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{Forwarding, Mode, Model, Side};

/// Why a file is not taken up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} changed from {from} to {to}; that takes a restart (`systemctl restart`, or stop and start `gateway`)"
)]
pub(super) struct Refusal {
    pub(super) key: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) why: &'static str,
}

/// Refuses what cannot change under living flows.
pub(super) fn check(running: &Model, new: &Model) -> Result<(), Refusal> {
    restarts(running, new).into_iter().next().map_or(Ok(()), Err)
}

/// All that cannot change under living flows: where packets come in, how they are sent on, how they are spread; and where
/// this process is found.
pub(super) fn restarts(running: &Model, new: &Model) -> Vec<Refusal> {
    // With nat, instances tell VIPs by ports that come from a VIP's place in the file.
    let vips = |model: &Model| match model.balancer.forwarding {
        Forwarding::Nat => format!("{:?} and {:?}", model.vip.private, model.vip.public),
        _ => String::new(),
    };
    let vips = (vips(running), vips(new));
    let none =
        |model: &Model| if model.service.mode == Mode::None { "none" } else { "a mode with VIPs" }.to_owned();
    let modes = (none(running), none(new));
    let names = (running.service.name.clone(), new.service.name.clone());
    let (old, new) = (&running.balancer, &new.balancer);
    let all = [
        ("service.mode", modes.0, modes.1, "without VIPs there is nothing to balance"),
        (
            "[balancer] interface",
            old.interfaces.to_string(),
            new.interfaces.to_string(),
            "the program is attached to the interface at the start",
        ),
        (
            "balancer.forwarding",
            old.forwarding.to_string(),
            new.forwarding.to_string(),
            "flows that began in one mode would end in another",
        ),
        (
            "balancer.seed",
            old.seed.clone(),
            new.seed.clone(),
            "every flow's hash changes with it, so flows would be found at other instances",
        ),
        (
            "[vip] with nat",
            vips.0,
            vips.1,
            "instances tell VIPs by ports that come from a VIP's place in the file",
        ),
        ("service.name", names.0, names.1, "the control socket is called by it"),
        ("balancer.admin", old.admin.to_string(), new.admin.to_string(), "the API listens from the start on"),
    ];
    let changed = all.into_iter().filter(|(_, from, to, _)| from != to);
    changed.map(|(key, from, to, why)| Refusal { key, from, to, why }).collect()
}

/// What flows can go on by after a restart, if it is still so: how they are sent on and spread.
pub(super) fn foundations(model: &Model) -> BTreeMap<String, String> {
    let vips = match model.balancer.forwarding {
        Forwarding::Nat => format!("{:?} and {:?}", model.vip.private, model.vip.public),
        _ => String::new(),
    };
    let keys = [
        ("interface", model.balancer.interfaces.to_string()),
        ("forwarding", model.balancer.forwarding.to_string()),
        ("seed", model.balancer.seed.clone()),
        ("vip", vips),
    ];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// VIPs that come to an interface and go from it with a file; with two interfaces, one that changes its kind does both.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VipChanges {
    pub(super) added: Vec<(Side, IpAddr)>,
    pub(super) removed: Vec<(Side, IpAddr)>,
}

impl VipChanges {
    pub(super) fn between(running: &Model, new: &Model) -> Self {
        let [before, after] = [running, new].map(placed);
        Self {
            added: after.difference(&before).copied().collect(),
            removed: before.difference(&after).copied().collect(),
        }
    }
}

/// Each VIP and the interface that it is on.
fn placed(model: &Model) -> BTreeSet<(Side, IpAddr)> {
    let sides = model.balancer.interfaces.sides().into_iter();
    sides.flat_map(|(side, _)| model.vip.on(side).into_iter().map(move |vip| (side, vip))).collect()
}

/// `new` with the VIPs of `running` besides: what the tables must say while addresses come and go, so that no packet
/// for a VIP is ever taken for ordinary traffic of this host.
pub(super) fn with_both_vips(running: &Model, new: &Model) -> Model {
    let mut both = new.clone();
    let gone = |vip: &&IpAddr| new.vip.all().all(|kept| kept != **vip);
    both.vip.private.extend(running.vip.private.iter().filter(gone));
    both.vip.public.extend(running.vip.public.iter().filter(gone));
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Forwarding, Interfaces},
        testing::model,
    };

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
    fn with_nat_another_list_of_vips_takes_a_restart() {
        let mut running = model(&["gw-1"]);
        running.balancer.forwarding = Forwarding::Nat;
        assert_eq!(check(&running, &running), Ok(()));
        let mut new = running.clone();
        new.vip.private.insert(0, "10.0.0.6".parse().unwrap());
        let refusal = check(&running, &new).unwrap_err().to_string();
        assert!(refusal.starts_with("[vip] with nat changed from [10.0.0.5] and"), "{refusal}");
    }

    #[test]
    fn r20_a_vip_that_goes_stays_known_until_its_address_is_gone() {
        let running = model(&["gw-1"]);
        let mut new = model(&["gw-1"]);
        new.vip.public = vec!["203.0.113.6".parse().unwrap()];
        let changes = VipChanges::between(&running, &new);
        assert_eq!(changes.added, [(Side::Both, new.vip.public[0])]);
        assert_eq!(changes.removed, [(Side::Both, running.vip.public[0])]);
        let both = with_both_vips(&running, &new);
        assert_eq!(both.vip.private, running.vip.private);
        assert_eq!(both.vip.public, [new.vip.public[0], running.vip.public[0]]);
    }

    #[test]
    fn r14_a_vip_that_changes_its_kind_changes_the_interface_where_there_are_two() {
        let mut running = model(&["gw-1"]);
        let mut new = running.clone();
        let vip: IpAddr = "10.0.0.6".parse().unwrap();
        running.vip.private.push(vip);
        new.vip.public.push(vip);
        assert_eq!(VipChanges::between(&running, &new), VipChanges::default());
        for model in [&mut running, &mut new] {
            let (inside, outside) = ("eth1".into(), "eth0".into());
            model.balancer.interfaces = Interfaces::Two { inside, outside };
        }
        let changes = VipChanges::between(&running, &new);
        assert_eq!(
            (&changes.added[..], &changes.removed[..]),
            (&[(Side::Outside, vip)][..], &[(Side::Inside, vip)][..])
        );
        assert_eq!(with_both_vips(&running, &new).vip, new.vip, "no VIP is in the tables twice");
    }
}
