//! Connections through the VIP: from which address to which of an instance. Pure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::ways::Hops;
use crate::{
    model::{Forwarding, Instance, InstanceName, Model},
    plan::Plan,
    probe::{Target, Targets, Way},
};

/// Bytes of an IP header and a TCP header without options.
const HEADERS: [u16; 2] = [20 + 20, 40 + 20];

/// Why no connection through the VIP can be made to an instance.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPath {
    #[error(
        "no connection through the VIP {vip} can be made to {instance}: packets to none of its addresses of that family leave by \
         an interface of the balancer; add a route, or set probe.via = \"instance\" and remove probe.availability"
    )]
    NoWay { instance: InstanceName, vip: IpAddr },
    #[error(
        "no connection through the VIP {vip} can be made to {instance}: this host has no address of its own, beside VIPs, from \
         which to reach {dip}; give it one, or set probe.via = \"instance\" and remove probe.availability"
    )]
    NoSource { instance: InstanceName, vip: IpAddr, dip: IpAddr },
    #[error(
        "no connection through the VIP {vip} can be made to {instance}: this host's address towards it, {source_ip}, is in no network \
         of network.subnet, network.vnet and network.peered, so the VIP would not answer it; add one, or set probe.via = \
         \"instance\" and remove probe.availability"
    )]
    Outside { instance: InstanceName, vip: IpAddr, source_ip: IpAddr },
}

/// A connection's ends. `None`: the instance is on this very host.
type Ends = Option<(IpAddr, IpAddr)>;

/// The first private VIP of each address family.
fn vips(model: &Model) -> impl Iterator<Item = IpAddr> + '_ {
    let first = |v4: bool| model.vip.private.iter().copied().find(move |vip| vip.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten()
}

/// Whether there is a path to every instance by each VIP, or the first reason why not.
pub(super) fn check(model: &Model, hops: &Hops, local: Option<&InstanceName>) -> Result<(), NoPath> {
    for instance in &model.instances {
        for vip in vips(model) {
            ends(model, hops, local, instance, vip)?;
        }
    }
    Ok(())
}

/// How each instance is connected to, by each VIP; paths that are not there are left out. `all`: every private VIP, and not
/// only the first one of each address family.
pub(super) fn targets(
    model: &Model,
    hops: &Hops,
    local: Option<&InstanceName>,
    plan: &Plan,
    which: Which,
) -> Targets {
    let vips: Vec<IpAddr> = match which {
        Which::First => vips(model).collect(),
        Which::All => model.vip.private.clone(),
    };
    let target = |instance: &Instance, vip: IpAddr| {
        one(model, hops, local, plan, instance, SocketAddr::new(vip, model.probe.vip_port)).ok()
    };
    let instances = model.instances.iter();
    let paths = instances
        .map(|one| (one.name.clone(), vips.iter().filter_map(|&vip| target(one, vip)).collect::<Vec<_>>()));
    paths.filter(|(_, targets)| !targets.is_empty()).collect::<BTreeMap<_, _>>()
}

/// How an instance is connected to by a VIP's port.
pub(super) fn one(
    model: &Model,
    hops: &Hops,
    local: Option<&InstanceName>,
    plan: &Plan,
    instance: &Instance,
    address: SocketAddr,
) -> Result<Target, NoPath> {
    let vip = address.ip();
    let no_way = || NoPath::NoWay { instance: instance.name.clone(), vip };
    let way = match ends(model, hops, local, instance, vip)? {
        None => Way::Direct { source: None },
        Some((source, dip)) if model.balancer.forwarding == Forwarding::Nat => {
            let port = model.vip.backend_port(vip, address.port()).ok_or_else(no_way)?;
            Way::Translated { source, to: SocketAddr::new(dip, port) }
        }
        Some((source, dip)) => {
            let number = *plan.numbers.get(&instance.name).ok_or_else(no_way)?;
            let family = usize::from(vip.is_ipv6());
            let mtu = plan.instances.get(&number).map_or(0, |entries| entries[family].mtu);
            Way::DataPath { source, dip, instance: number, mss: mtu.checked_sub(HEADERS[family]) }
        }
    };
    Ok(Target { address, way })
}

/// By which VIPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The first private one of each address family.
    First,
    /// All private ones.
    All,
}

/// Source and destination of a socket that stands for a connection to `vip`.
fn ends(
    model: &Model,
    hops: &Hops,
    local: Option<&InstanceName>,
    instance: &Instance,
    vip: IpAddr,
) -> Result<Ends, NoPath> {
    if local == Some(&instance.name) {
        return Ok(None);
    }
    let name = || instance.name.clone();
    let like_vip = |ip: &IpAddr| ip.is_ipv4() == vip.is_ipv4();
    let mut dips = instance.dip.iter().copied().filter(like_vip);
    let found = dips.find_map(|dip| Some((dip, hops.get(&(name(), dip))?)));
    let Some((dip, hop)) = found else { return Err(NoPath::NoWay { instance: name(), vip }) };
    // With `l2` the kernel's choice, which may be a VIP.
    let own = |ip: &IpAddr| like_vip(ip) && !ip.is_unspecified() && !model.vip.all().any(|vip| vip == *ip);
    let configured = model.balancer.address.iter().copied();
    let source = std::iter::once(hop.source).chain(configured).find(own);
    let Some(source) = source else { return Err(NoPath::NoSource { instance: name(), vip, dip }) };
    if !model.network.inside().any(|network| network.contains(&source)) {
        return Err(NoPath::Outside { instance: name(), vip, source_ip: source });
    }
    Ok(Some((source, dip)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::{super::ways::Hop, *};
    use crate::{
        plan::{self, Desired},
        testing,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hops(model: &Model, sources: [&str; 2]) -> Hops {
        let dips = model.instances.iter().flat_map(|one| one.dip.iter().map(|dip| (one.name.clone(), *dip)));
        let hop = |dip: IpAddr| Hop {
            interface: 2,
            neighbour: dip,
            mtu: 1500,
            source: ip(sources[usize::from(dip.is_ipv6())]),
        };
        dips.map(|key| (key.clone(), hop(key.1))).collect()
    }

    fn desired(model: &Model) -> Desired {
        Desired {
            model: Arc::new(model.clone()),
            interfaces: Vec::new(),
            ways: BTreeMap::new(),
            local: None,
            ended: BTreeSet::new(),
            gone: BTreeSet::new(),
            shares: BTreeMap::new(),
            leases: BTreeMap::new(),
            node_salt: 0,
            now: 0,
        }
    }

    fn two_families() -> Model {
        let mut model = testing::model(&["gw-1"]);
        model.vip.private = vec![ip("10.0.0.5"), ip("10.0.0.6"), ip("fd00:0:0:1::5")];
        model.instances[0].dip = vec![ip("10.0.0.11"), ip("fd00:0:0:1::11")];
        model.network.subnet.push("fd00:0:0:1::/64".parse().unwrap());
        model
    }

    #[test]
    fn the_source_is_no_vip_and_inside() {
        let model = two_families();
        let ends = |sources, vip| ends(&model, &hops(&model, sources), None, &model.instances[0], ip(vip));
        let own = ["10.0.0.2", "fd00:0:0:1::2"];
        assert_eq!(ends(own, "10.0.0.6"), Ok(Some((ip("10.0.0.2"), ip("10.0.0.11")))));
        assert_eq!(ends(own, "fd00:0:0:1::5"), Ok(Some((ip("fd00:0:0:1::2"), ip("fd00:0:0:1::11")))));
        for source in ["10.0.0.5", "0.0.0.0"] {
            let error = ends([source, "::1"], "10.0.0.5").unwrap_err();
            assert!(matches!(error, NoPath::NoSource { .. }), "{error}");
        }
        let error = ends(["192.0.2.1", "::1"], "10.0.0.5").unwrap_err().to_string();
        assert!(error.contains("192.0.2.1, is in no network"), "{error}");
    }

    #[test]
    fn the_local_instance_is_connected_to_directly_and_one_without_a_way_is_refused() {
        let model = two_families();
        let name = model.instances[0].name.clone();
        assert_eq!(check(&model, &Hops::new(), Some(&name)), Ok(()));
        let error = check(&model, &Hops::new(), None).unwrap_err();
        assert_eq!(error, NoPath::NoWay { instance: name, vip: ip("10.0.0.5") });
    }

    #[test]
    fn r84_all_private_vips_or_the_first_of_each_family_and_with_nat_the_ports_that_stand_for_them() {
        let mut model = two_families();
        let hops = hops(&model, ["10.0.0.2", "fd00:0:0:1::2"]);
        let plan = plan::plan(&desired(&model), None).unwrap();
        let of = |model: &Model, which| {
            let mut targets = targets(model, &hops, None, &plan, which);
            assert_eq!(targets.len(), 1);
            targets.pop_first().unwrap().1
        };
        let addresses =
            |which| of(&model, which).iter().map(|one| one.address.to_string()).collect::<Vec<_>>();
        assert_eq!(addresses(Which::First), ["10.0.0.5:443", "[fd00:0:0:1::5]:443"]);
        assert_eq!(addresses(Which::All), ["10.0.0.5:443", "10.0.0.6:443", "[fd00:0:0:1::5]:443"]);
        model.balancer.forwarding = Forwarding::Nat;
        let second = of(&model, Which::All).remove(1);
        let to = "10.0.0.11:30443".parse().unwrap();
        assert_eq!(second.way, Way::Translated { source: ip("10.0.0.2"), to });
    }
}
