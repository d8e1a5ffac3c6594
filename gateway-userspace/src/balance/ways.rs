//! How packets reach the instances, as this host's routes have it: by which interface, to which neighbour on it.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use super::status;
use crate::{
    model::{Forwarding, Instance, InstanceName, Interfaces, Model},
    net::{
        self, Netlink,
        link::Link,
        route::{Route, Way},
    },
};

/// The next step of packets to an address of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hop {
    /// One of the balancer's interfaces.
    pub(super) interface: u32,
    /// Whose MAC they get: the instance's own address, or a router's.
    pub(super) neighbour: IpAddr,
    /// The largest packet.
    pub(super) mtu: u16,
    /// This host's address towards it.
    pub(super) source: IpAddr,
}

/// By instance and DIP. With `l2` only those on the link of an interface.
pub(super) type Hops = BTreeMap<(InstanceName, IpAddr), Hop>;

/// Why an instance cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreachable {
    #[error(
        "{instance} cannot be reached on the link of {interfaces}: {ways}. With forwarding = \"l2\" every instance has \
         to be on that link: give {interfaces} an address of the instance's subnet, move the instance, name the \
         interface that leads there in [balancer], or choose another forwarding mode"
    )]
    NotOnLink { instance: InstanceName, interfaces: String, ways: String },
    #[error(
        "{instance} cannot be reached through {interfaces}: {ways}. With forwarding = \"{mode}\" packets to it have to \
         leave by that interface, straight or through a router: add a route (`ip route add`), or name the interface \
         that leads there in [balancer]"
    )]
    NoWay { instance: InstanceName, interfaces: String, ways: String, mode: Forwarding },
    #[error(
        "none of balancer.address is an IPv4 or IPv6 address of this host like {instance}'s {dip}; with forwarding = \
         \"{mode}\" packets to it need one: add this host's own address to balancer.address, here and in the \
         instances' files"
    )]
    NoSource { instance: InstanceName, dip: IpAddr, mode: Forwarding },
    #[error(
        "{instance} is this very host ({dip}); start `gateway run` instead, or pass `--local {instance}` where its \
         proxy is started apart"
    )]
    IsLocal { instance: InstanceName, dip: IpAddr },
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) hops: Hops,
    /// One for each instance that lacks a hop.
    pub(super) unreachable: Vec<Unreachable>,
}

/// Looks up the ways to every instance but the local one. `interfaces` are the balancer's, the inner one first.
pub(super) async fn find(
    netlink: &Netlink,
    model: &Model,
    interfaces: &[Link],
    local: Option<&InstanceName>,
) -> Result<Found, net::Error> {
    let links = netlink.links().await?;
    let here: BTreeSet<IpAddr> = netlink.addresses().await?.iter().map(|address| address.ip).collect();
    let own = model.balancer.address.iter().copied().filter(|ip| here.contains(ip)).collect();
    let host = Host { model, interfaces, links, own };
    let mut found = Found { hops: Hops::new(), unreachable: Vec::new() };
    for instance in model.instances.iter().filter(|i| Some(&i.name) != local) {
        let mut ways = Vec::new();
        for dip in &instance.dip {
            ways.push((*dip, netlink.way_to(*dip).await?));
        }
        match host.hops(instance, &ways) {
            Ok(hops) => {
                found.hops.extend(hops.into_iter().map(|(dip, hop)| ((instance.name.clone(), dip), hop)));
            }
            Err(error) => found.unreachable.push(error),
        }
    }
    Ok(found)
}

/// What the judgement on a way depends on.
struct Host<'a> {
    model: &'a Model,
    /// The balancer's.
    interfaces: &'a [Link],
    /// All of them, for messages.
    links: Vec<Link>,
    /// Those of `balancer.address` that are this host's, in the order of the file.
    own: Vec<IpAddr>,
}

impl Host<'_> {
    /// The hops to an instance: enough of them to serve it, or the reason.
    fn hops(&self, instance: &Instance, ways: &[(IpAddr, Way)]) -> Result<Vec<(IpAddr, Hop)>, Unreachable> {
        let mode = self.model.balancer.forwarding;
        let mut hops = Vec::new();
        let mut other_ways = Vec::new();
        for (dip, way) in ways {
            let dip = *dip;
            match way {
                Way::Local => return Err(Unreachable::IsLocal { instance: instance.name.clone(), dip }),
                Way::Out(route) if self.serves(route) => {
                    let source = self.source(dip, route).ok_or_else(|| Unreachable::NoSource {
                        instance: instance.name.clone(),
                        dip,
                        mode,
                    })?;
                    hops.push((dip, self.hop(dip, route, source)));
                }
                way => other_ways.push(self.describe(dip, *way)),
            }
        }
        if self.suffice(&hops) {
            return Ok(hops);
        }
        let instance = instance.name.clone();
        let interfaces = status::list(self.interfaces.iter().map(|link| &link.name));
        let ways = other_ways.join("; ");
        Err(match mode {
            Forwarding::L2 => Unreachable::NotOnLink { instance, interfaces, ways },
            mode => Unreachable::NoWay { instance, interfaces, ways, mode },
        })
    }

    /// Out of an interface of the balancer; with `l2`, where the MAC is all that tells an instance, without a router; with `nat`
    /// not by the outer interface, by which no reply is taken.
    fn serves(&self, route: &Route) -> bool {
        // By its place: it may have another name by now.
        let outer = match &self.model.balancer.interfaces {
            Interfaces::One(_) | Interfaces::None => None,
            Interfaces::Two { .. } => self.interfaces.get(1).map(|link| link.index),
        };
        let is_outer = |link: &Link| Some(link.index) == outer;
        let nat = self.model.balancer.forwarding == Forwarding::Nat;
        let ours = self.interfaces.iter().any(|link| link.index == route.link && !(nat && is_outer(link)));
        ours && (self.model.balancer.forwarding != Forwarding::L2 || route.gateway.is_none())
    }

    /// What the instance knows this balancer by. With `l2` nobody sees it.
    fn source(&self, dip: IpAddr, route: &Route) -> Option<IpAddr> {
        if self.model.balancer.forwarding == Forwarding::L2 {
            return Some(route.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        }
        let mut own = self.own.iter().copied().filter(|ip| ip.is_ipv4() == dip.is_ipv4());
        route.source.filter(|source| self.own.contains(source)).or_else(|| own.next())
    }

    fn hop(&self, dip: IpAddr, route: &Route, source: IpAddr) -> Hop {
        let link = self.interfaces.iter().find(|link| link.index == route.link).map_or(0, |link| link.mtu);
        let mtu = route.mtu.map_or(link, |mtu| mtu.min(link));
        Hop {
            interface: route.link,
            neighbour: route.gateway.unwrap_or(dip),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            source,
        }
    }

    /// With `nat` a packet goes to the DIP of its own family; else one DIP is enough for both.
    fn suffice(&self, hops: &[(IpAddr, Hop)]) -> bool {
        match self.model.balancer.forwarding {
            Forwarding::Nat => {
                self.model.vip.all().all(|vip| hops.iter().any(|(dip, _)| dip.is_ipv4() == vip.is_ipv4()))
            }
            Forwarding::L2 | Forwarding::Ipip | Forwarding::Gue => !hops.is_empty(),
        }
    }

    fn describe(&self, dip: IpAddr, way: Way) -> String {
        let name = |index: u32| {
            let link = self.links.iter().find(|link| link.index == index);
            link.map_or_else(|| index.to_string(), |link| link.name.clone())
        };
        match way {
            Way::Out(Route { link, gateway: None, .. }) => format!("{dip} is on {}", name(link)),
            Way::Out(Route { link, gateway: Some(gateway), .. }) => {
                format!("packets to {dip} leave through the router {gateway} on {}", name(link))
            }
            Way::None => format!("there is no route to {dip}"),
            Way::Local => format!("{dip} is this host's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::testing::Namespace, testing};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn model(mode: Forwarding) -> Model {
        let mut model = testing::model(&["gw-1"]);
        model.balancer.forwarding = mode;
        model.balancer.address = vec![ip("10.0.0.3"), ip("10.0.0.1")];
        model
    }

    /// This host has 10.0.0.1 on eth0, whose link is given, 10.1.0.1 on eth1, and a router at 10.0.0.254.
    async fn host(netlink: &Netlink) -> Link {
        let (link, _) = netlink.add_pair("eth0", "peer0").await;
        let (other, _) = netlink.add_pair("eth1", "peer1").await;
        netlink.add_subnet(link.index, "10.0.0.1", 24).await;
        netlink.add_subnet(other.index, "10.1.0.1", 24).await;
        netlink.add_default_route("10.0.0.254".parse().unwrap()).await;
        link
    }

    async fn only(netlink: &Netlink, model: &Model, link: &Link) -> Result<Hop, Unreachable> {
        let mut found = find(netlink, model, std::slice::from_ref(link), None).await.unwrap();
        match found.unreachable.pop() {
            Some(error) => Err(error),
            None => Ok(found.hops.into_values().next().unwrap()),
        }
    }

    #[test]
    fn an_instance_on_the_link_is_its_own_next_hop_in_every_mode() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            for mode in [Forwarding::L2, Forwarding::Ipip, Forwarding::Gue] {
                let hop = only(netlink, &model(mode), &link).await.unwrap();
                let (neighbour, source) = (ip("10.0.0.11"), ip("10.0.0.1"));
                assert_eq!(hop, Hop { interface: link.index, neighbour, mtu: 1500, source }, "{mode}");
            }
        });
    }

    #[test]
    fn an_instance_behind_a_router_is_refused_with_the_way_in_l2_and_else_reached_by_the_router() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            netlink.add_route_with_mtu("10.9.0.0".parse().unwrap(), link.index, 1400).await;
            let mut l2 = model(Forwarding::L2);
            l2.instances[0].dip = vec![ip("10.8.0.11")];
            let error = only(netlink, &l2, &link).await.unwrap_err().to_string();
            let expected = "gw-1 cannot be reached on the link of eth0: packets to 10.8.0.11 leave through the router \
                            10.0.0.254 on eth0.";
            assert!(error.starts_with(expected), "{error}");
            for mode in [Forwarding::Ipip, Forwarding::Gue] {
                let mut model = Model { balancer: model(mode).balancer, ..l2.clone() };
                let hop = only(netlink, &model, &link).await.unwrap();
                assert_eq!((hop.neighbour, hop.mtu), (ip("10.0.0.254"), 1500), "{mode}");
                model.instances[0].dip = vec![ip("10.9.0.11")];
                assert_eq!(only(netlink, &model, &link).await.unwrap().mtu, 1400, "{mode}");
            }
        });
    }

    #[test]
    fn an_instance_by_another_interface_is_refused_in_every_mode() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            for mode in [Forwarding::L2, Forwarding::Ipip, Forwarding::Gue, Forwarding::Nat] {
                let mut model = model(mode);
                model.instances[0].dip = vec![ip("10.1.0.11")];
                let error = only(netlink, &model, &link).await.unwrap_err().to_string();
                assert!(error.contains("10.1.0.11 is on eth1"), "{error}");
            }
            let mut model = model(Forwarding::L2);
            model.instances[0].dip = vec![ip("10.1.0.11")];
            let both = [link, netlink.link("eth1").await.unwrap()];
            let found = find(netlink, &model, &both, None).await.unwrap();
            assert_eq!(found.unreachable, [], "one of two interfaces leads there");
            assert_eq!(found.hops.into_values().next().unwrap().interface, both[1].index);
        });
    }

    #[test]
    fn the_source_is_one_that_the_instances_know() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            let mut model = model(Forwarding::Ipip);
            model.balancer.address = vec![ip("10.0.0.3"), ip("10.1.0.1")];
            assert_eq!(only(netlink, &model, &link).await.unwrap().source, ip("10.1.0.1"));
            model.balancer.address = vec![ip("10.0.0.3")];
            let error = only(netlink, &model, &link).await.unwrap_err();
            assert!(matches!(error, Unreachable::NoSource { .. }), "{error}");
        });
    }

    #[test]
    fn nat_needs_a_way_to_a_dip_of_each_family_that_vips_have() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            let mut model = model(Forwarding::Nat);
            only(netlink, &model, &link).await.unwrap();
            model.vip.private.push(ip("fd00:0:0:1::5"));
            model.instances[0].dip.push(ip("fd00:0:0:1::11"));
            let error = only(netlink, &model, &link).await.unwrap_err().to_string();
            assert!(error.contains("there is no route to fd00:0:0:1::11"), "{error}");
        });
    }

    #[test]
    fn an_instance_on_this_host_has_to_be_named() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, "10.0.0.11", 24).await;
            let model = testing::model(&["gw-1", "gw-2"]);
            let links = std::slice::from_ref(&link);
            let found = find(netlink, &model, links, None).await.unwrap();
            assert!(matches!(found.unreachable[..], [Unreachable::IsLocal { .. }]), "{found:?}");
            let name = model.instances[0].name.clone();
            let found = find(netlink, &model, links, Some(&name)).await.unwrap();
            let reached: Vec<_> = found.hops.into_keys().map(|(name, _)| name.0).collect();
            assert_eq!((reached, found.unreachable), (vec!["gw-2".to_owned()], vec![]));
        });
    }

    #[test]
    fn the_ways_to_a_thousand_instances_are_read_in_a_moment() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let link = host(netlink).await;
            let mut model = model(Forwarding::Ipip);
            let instance = |n: u16| Instance {
                name: InstanceName(format!("gw-{n}")),
                dip: vec![IpAddr::from([10, 8, (n >> 8) as u8, n as u8])],
                ..model.instances[0].clone()
            };
            model.instances = (0..1000).map(instance).collect();
            let begun = std::time::Instant::now();
            let found = find(netlink, &model, std::slice::from_ref(&link), None).await.unwrap();
            eprintln!("{} ways in {:?}", found.hops.len(), begun.elapsed());
            assert_eq!((found.hops.len(), found.unreachable.len()), (1000, 0));
        });
    }
}
