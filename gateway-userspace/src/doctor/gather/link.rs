//! The balancer's interfaces, and who has which address on the links of this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    balance::preflight,
    dataplane::pins,
    doctor::facts::{Claim, Interface, Seen},
    model::Model,
    net::{self, Netlink, ask::who_has, ethtool, link::Link, route::Way},
};

/// Of a veth: frames that XDP_TX could not hand to the other end.
const LOST: &str = "xdp_tx_errors";

pub(super) async fn interfaces(netlink: &Netlink, model: &Model) -> Seen<Vec<Interface>> {
    let links = match netlink.links().await {
        Ok(links) => links,
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    let ours = pins::programs(&model.service.name, pins::Piece::Balancer).unwrap_or_default();
    let interface = |name: &str| {
        let link = links.iter().find(|link| link.name == name).cloned();
        let foreign =
            link.iter().flat_map(|link| link.xdp.iter().filter(|id| ours.get(&link.index) != Some(id)));
        Interface {
            name: name.to_owned(),
            driver: ethtool::driver(name).into(),
            foreign: foreign.map(|id| preflight::program(*id)).collect(),
            lost: ethtool::counted(name, LOST).ok(),
            link: link.clone(),
        }
    };
    Seen::Seen(model.balancer.interfaces.sides().into_iter().map(|(_, name)| interface(name)).collect())
}

pub(super) async fn other_ways_in(netlink: &Netlink, model: &Model) -> Seen<Vec<String>> {
    let links = match netlink.links().await {
        Ok(links) => links,
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    let names: BTreeSet<_> = model.balancer.interfaces.sides().into_iter().map(|(_, name)| name).collect();
    let own: Vec<_> = links.iter().filter(|link| names.contains(link.name.as_str())).cloned().collect();
    Seen::Seen(preflight::other_ways_in(&links, &own).into_iter().map(ToOwned::to_owned).collect())
}

/// Asks for all VIPs on the balancer's interfaces, and for those and the DIPs that are on a link of this host.
pub(super) async fn claimed(netlink: &Netlink, model: &Model) -> Seen<BTreeMap<IpAddr, Claim>> {
    ask(netlink, model).await.into()
}

async fn ask(netlink: &Netlink, model: &Model) -> Result<BTreeMap<IpAddr, Claim>, net::Error> {
    let (links, present) = (netlink.links().await?, netlink.addresses().await?);
    let vips: BTreeSet<IpAddr> = model.vip.all().collect();
    let dips = model.instances.iter().flat_map(|one| &one.dip).copied();
    let own_dips = || model.instances.iter().flat_map(|one| &one.dip).copied();
    let is_link = |index: u32| links.iter().any(|link| link.index == index && link.mac.is_some());
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
        let Some(link) = links.iter().find(|link| link.index == index && can_be_asked(link)) else {
            continue;
        };
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
