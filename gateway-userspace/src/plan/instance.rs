//! An instance's tables: whose tunnels end here, what may come out of them, and who else may have a flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use gateway_ebpf::{
    address::Address,
    layout::{self, Config, Hop, SELF},
};

use super::{
    Error, Interface, Plan, Way, hop_id, hops as ids, leases, perfect::perfect, services, sources, ways,
};
use crate::model::{InstanceName, Model};

/// What an instance's tables are made from.
#[derive(Debug, Clone)]
pub struct OnInstance {
    /// The configuration.
    pub model: Arc<Model>,
    /// Which instance of it this host is.
    pub name: InstanceName,
    /// Where the program is attached; its place here is its place in the device map.
    pub interfaces: Vec<Interface>,
    /// How packets leave for the other instances' DIPs, as far as that is known.
    pub ways: BTreeMap<(InstanceName, IpAddr), Way>,
}

/// The next tables. `running` is what the kernel has.
///
/// # Errors
/// See [`Error`].
pub fn instance(wish: &OnInstance, running: Option<&Plan>) -> Result<Plan, Error> {
    let model = &wish.model;
    ids::check(&model.balancer.seed, model.instances.iter().map(|instance| &instance.name))?;
    let sources = sources::sets(model)?;
    let own = model.instance(&wish.name.0).map_or(&[][..], |instance| &instance.dip);
    let mut services = services::tables(model, &sources, own, running)?;
    // Answers to this instance's own flows come out of tunnels too, for source NAT to judge.
    let outbound = model.snat.map_or(&[][..], |_| &model.vip.public);
    let leases = leases::all(outbound, SELF, &mut services.vips);
    let (interface_multiplier, interfaces) =
        ways::interfaces(&wish.interfaces, running.map(|plan| plan.config.interface_multiplier))?;
    let peers: BTreeSet<Address> = model.balancer.address.iter().copied().map(Address::from).collect();
    let (peer_multiplier, peers) = perfect(
        &peers.into_iter().collect::<Vec<_>>(),
        Address::slot,
        running.map(|plan| plan.config.peer_multiplier),
        "balancers",
    )?;
    let (hop_multiplier, hops) = perfect(
        &hops(wish),
        |hop, multiplier| layout::slot(hop.id.into(), multiplier),
        running.map(|plan| plan.config.hop_multiplier),
        "instances",
    )?;
    Ok(Plan {
        config: Config {
            vip_multiplier: services.vip_multiplier,
            service_multiplier: services.service_multiplier,
            peer_multiplier,
            hop_multiplier,
            interface_multiplier,
            one: 1,
            ..Config::default()
        },
        vips: services.vips,
        services: services.services,
        sources: sources.sets,
        interfaces,
        instances: BTreeMap::new(),
        peers,
        replies: BTreeMap::new(),
        hops,
        ring: Vec::new(),
        windows: Vec::new(),
        leases,
        numbers: BTreeMap::from([(wish.name.clone(), SELF)]),
        scopes: services.scopes,
        forget: BTreeSet::new(),
        closed: BTreeSet::new(),
    })
}

/// The other instances, as far as there is a way to them, by the first address of the file that the balancers may have.
fn hops(wish: &OnInstance) -> Vec<Hop> {
    let others = wish.model.instances.iter().filter(|instance| instance.name != wish.name);
    let hop = |instance: &crate::model::Instance| {
        let ways = instance
            .dip
            .iter()
            .filter_map(|dip| Some((*dip, wish.ways.get(&(instance.name.clone(), *dip))?)));
        let (dip, way) = ways.into_iter().next()?;
        let (port, ours) = (0..).zip(&wish.interfaces).find(|(_, ours)| ours.index == way.interface)?;
        Some(Hop {
            address: dip.into(),
            macs: ways::macs(way.mac, ours.mac),
            id: hop_id(&wish.model.balancer.seed, &instance.name),
            port,
            pad: [0; 3],
        })
    };
    others.filter_map(hop).collect()
}
