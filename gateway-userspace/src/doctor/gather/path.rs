//! The ways to instances, and back to clients.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::Here;
use crate::{
    doctor::facts::{Path, Seen, WayBack},
    model::{Instance, Model},
    net::{self, Netlink, ping, route::Way, sysctl},
    proxy::bind,
};

/// A small packet, IP header included.
const SMALL: usize = 100;
const PATIENCE: Duration = Duration::from_millis(600);
/// Threads.
pub(super) const AT_ONCE: usize = 64;
/// `rp_filter`: an answer has to leave where its question came in.
const STRICT: u8 = 1;

/// Each instance by the first of its addresses that there is a route to.
pub(super) async fn to_instances(netlink: &Netlink, here: &Here, model: &Model) -> Seen<Vec<Path>> {
    let mut paths = match ways(netlink, here, model).await {
        Ok(paths) => paths,
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    for some in paths.chunks_mut(AT_ONCE) {
        std::thread::scope(|scope| {
            for path in some {
                scope.spawn(|| path.pings = pings(path.dip, path.mtu as usize));
            }
        });
    }
    Seen::Seen(paths)
}

async fn ways(netlink: &Netlink, here: &Here, model: &Model) -> Result<Vec<Path>, net::Error> {
    let mut paths = Vec::new();
    for instance in &model.instances {
        for dip in &instance.dip {
            let Way::Out(route) = netlink.way_to(*dip).await? else { continue };
            let Some(link) = here.link(route.link) else { continue };
            let by_this = Instance { dip: vec![*dip], ..instance.clone() };
            paths.push(Path {
                instance: instance.name.to_string(),
                dip: *dip,
                interface: link.name.clone(),
                mtu: route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
                overhead: bind::tunnel(model, &by_this).map_or(0, bind::Tunnel::bytes),
                pings: Seen::default(),
            });
            break;
        }
    }
    Ok(paths)
}

fn pings(dip: IpAddr, mtu: usize) -> Seen<[bool; 2]> {
    let is_answered = |bytes| ping::is_answered(dip, bytes, PATIENCE);
    is_answered(SMALL).and_then(|small| Ok([small, small && is_answered(mtu)?])).into()
}

/// From this instance's own address.
pub(super) async fn back(netlink: &Netlink, here: &Here, model: &Model) -> Seen<Vec<WayBack>> {
    ways_back(netlink, here, model).await.into()
}

async fn ways_back(netlink: &Netlink, here: &Here, model: &Model) -> Result<Vec<WayBack>, net::Error> {
    let name = |index: u32| here.link(index).map(|link| link.name.clone());
    let is_dip = |ip: IpAddr| model.instances.iter().any(|one| one.dip.contains(&ip));
    let mut ways = Vec::new();
    for is_v4 in [true, false] {
        let own = here.addresses.iter().find(|one| one.ip.is_ipv4() == is_v4 && is_dip(one.ip));
        let Some(comes_by) = own.and_then(|own| name(own.link)) else { continue };
        let is_strict = is_v4 && strict(&comes_by);
        let inside = model.network.inside().chain(model.balancer.management_sources.iter().copied());
        for network in inside.filter(|network| network.addr().is_ipv4() == is_v4) {
            let sample = sample(network);
            let leaves_by = match netlink.way_to(sample).await? {
                Way::Out(route) => name(route.link),
                Way::Local => Some(comes_by.clone()),
                Way::None => None,
            };
            ways.push(WayBack { network, sample, comes_by: comes_by.clone(), leaves_by, is_strict });
        }
    }
    Ok(ways)
}

/// The larger of the two settings holds.
fn strict(interface: &str) -> bool {
    let setting = |name: &str| sysctl::read(&sysctl::ipv4_conf(name, "rp_filter")).ok()?.parse::<u8>().ok();
    setting("all").max(setting(interface)) == Some(STRICT)
}

/// One of the network's addresses, and neither of the two that have a meaning of their own.
fn sample(network: IpNet) -> IpAddr {
    match (network.network(), network.broadcast()) {
        (first, last) if first == last => first,
        (IpAddr::V4(_), IpAddr::V4(last)) => IpAddr::V4(u32::from(last).saturating_sub(1).into()),
        (IpAddr::V6(_), IpAddr::V6(last)) => IpAddr::V6(u128::from(last).saturating_sub(1).into()),
        (first, _) => first,
    }
}
