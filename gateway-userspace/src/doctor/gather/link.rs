//! The balancer's interfaces, and who has which address on the links of this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::Here;
use crate::{
    balance::preflight,
    dataplane::pins,
    doctor::facts::{Claim, Interface, Seen, Sent},
    model::{Forwarding, Model},
    net::{self, Netlink, ask::who_has, ethtool, link::Link, route::Way},
};

/// Of a veth: frames that XDP_TX handed to the other end, and that it could not.
const TAKEN: &str = "_xdp_tx";
const LOST: &str = "_xdp_tx_errors";
const VETH: &str = "veth";
/// At least between two looks at counters: a busy balancer sends thousands.
const APART: Duration = Duration::from_millis(500);

pub(super) fn interfaces(here: &Here, model: &Model) -> Vec<Interface> {
    let ours = pins::programs(&model.service.name, pins::Piece::Balancer).unwrap_or_default();
    let interface = |name: &str| {
        let link = here.links.iter().find(|link| link.name == name).cloned();
        let foreign =
            link.iter().flat_map(|link| link.xdp.iter().filter(|id| ours.get(&link.index) != Some(id)));
        Interface {
            name: name.to_owned(),
            driver: ethtool::driver(name).into(),
            foreign: foreign.map(|id| preflight::program(*id)).collect(),
            sent: None,
            link: link.clone(),
        }
    };
    model.balancer.interfaces.sides().into_iter().map(|(_, name)| interface(name)).collect()
}

/// Of the balancer's veths, what they have counted until now.
pub(super) struct Counted {
    at: Instant,
    /// Taken and lost.
    of: BTreeMap<String, [u64; 2]>,
}

pub(super) fn counted(interfaces: &[Interface]) -> Counted {
    let veths = interfaces.iter().filter(|one| one.driver == Seen::Seen(VETH.to_owned()));
    let count = |name: &str| Some([ethtool::counted(name, TAKEN).ok()?, ethtool::counted(name, LOST).ok()?]);
    let of = veths.filter_map(|one| Some((one.name.clone(), count(&one.name)?))).collect();
    Counted { at: Instant::now(), of }
}

/// What they have counted since, and waits if that was just now.
pub(super) fn sent(interfaces: &mut [Interface], before: &Counted) {
    if before.of.is_empty() {
        return;
    }
    std::thread::sleep(APART.saturating_sub(before.at.elapsed()));
    let after = counted(interfaces);
    for one in interfaces {
        let (Some(now), Some(then)) = (after.of.get(&one.name), before.of.get(&one.name)) else { continue };
        let [taken, lost] = [0, 1].map(|which| now[which].saturating_sub(then[which]));
        one.sent = Some(Sent { taken, lost, lost_before: then[1] });
    }
}

/// Of the veths that lead to the VIPs, and with `nat` from an instance to the balancer, those that leave checksums to a card.
pub(super) async fn unfinished(netlink: &Netlink, here: &Here, model: &Model) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let towards =
        model.balancer.address.iter().copied().filter(|_| model.balancer.forwarding == Forwarding::Nat);
    for ip in model.vip.all().chain(towards) {
        // What no route leads to does not leave at all.
        let Ok(Way::Out(route)) = netlink.way_to(ip).await else { continue };
        names.extend(here.link(route.link).map(|link| link.name.clone()));
    }
    let leaves = |name: &String| {
        ethtool::driver(name).is_ok_and(|driver| driver == VETH)
            && ethtool::leaves_checksums(name).unwrap_or(false)
    };
    names.retain(leaves);
    names
}

pub(super) fn other_ways_in(here: &Here, model: &Model) -> Vec<String> {
    let names: BTreeSet<_> = model.balancer.interfaces.sides().into_iter().map(|(_, name)| name).collect();
    let own: Vec<_> = here.links.iter().filter(|link| names.contains(link.name.as_str())).cloned().collect();
    preflight::other_ways_in(&here.links, &own).into_iter().map(ToOwned::to_owned).collect()
}

/// Asks for all VIPs on the balancer's interfaces, and for those and the DIPs that are on a link of this host.
pub(super) async fn claimed(netlink: &Netlink, here: &Here, model: &Model) -> Seen<BTreeMap<IpAddr, Claim>> {
    ask(netlink, here, model).await.into()
}

async fn ask(netlink: &Netlink, here: &Here, model: &Model) -> Result<BTreeMap<IpAddr, Claim>, net::Error> {
    let present = &here.addresses;
    let vips: BTreeSet<IpAddr> = model.vip.all().collect();
    let dips = model.instances.iter().flat_map(|one| &one.dip).copied();
    let own_dips = || model.instances.iter().flat_map(|one| &one.dip).copied();
    let is_link = |index: u32| here.link(index).is_some_and(|link| link.mac.is_some());
    let mut by_link: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
    for ip in vips.iter().copied().chain(dips) {
        // A VIP of an instance is on lo, and its link is that of the DIP.
        let is_here = present.iter().any(|one| one.ip == ip);
        let on_a_link =
            |ip: &IpAddr| present.iter().find(|one| one.ip == *ip && is_link(one.link)).map(|one| one.link);
        let own = on_a_link(&ip).or_else(|| own_dips().filter(|_| is_here).find_map(|dip| on_a_link(&dip)));
        let link = match own {
            Some(link) => Some(link),
            None => match netlink.way_to(ip).await? {
                Way::Out(route) if route.gateway.is_none() => Some(route.link),
                _ => None,
            },
        };
        if let Some(link) = link {
            by_link.entry(link).or_default().insert(ip);
        }
    }
    let mut claims = BTreeMap::new();
    for (index, ips) in by_link {
        let Some(link) = here.link(index).filter(|link| can_be_asked(link)) else { continue };
        for (ip, others) in who_has(netlink, link, &ips, &vips).await? {
            let is_own = present.iter().any(|one| one.ip == ip && one.link == index);
            claims.insert(ip, Claim { interface: link.name.clone(), is_own, others });
        }
    }
    Ok(claims)
}

fn can_be_asked(link: &Link) -> bool {
    link.up && link.carrier && link.mac.is_some()
}
