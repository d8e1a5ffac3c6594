//! Facts by I/O: the kernel, the network, the running balancer. Nothing is changed, and what cannot be had is a fact too.

mod host;
mod link;
mod path;
mod service;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;

use super::facts::{Configured, Facts, Place, Seen};
use crate::{config, dataplane::pins, model::Model, net::Netlink};

/// What is to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The file.
    pub file: PathBuf,
    /// What this host is; empty: what it looks like.
    pub place: BTreeSet<Place>,
    /// Clients outside, of whom is asked whether they reach the management port.
    pub from: Vec<IpAddr>,
    /// Whom to ask for names; empty: the system's resolvers.
    pub servers: Vec<SocketAddr>,
    /// Nothing of ours runs yet.
    pub is_first: bool,
}

/// Looks at everything.
///
/// # Errors
/// There is no event loop.
pub fn gather(ask: &Ask) -> anyhow::Result<Facts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the event loop")?;
    let mut facts = Facts { host: host::look(), file: configured(ask), ..Facts::default() };
    let Seen::Seen(file) = &facts.file else {
        facts.place.clone_from(&ask.place);
        return Ok(facts);
    };
    let model = file.model.clone();
    // It has an event loop of its own.
    facts.status = service::status(&model);
    runtime.block_on(async {
        let netlink = Netlink::open()?;
        facts.addresses =
            netlink.addresses().await.map(|all| all.into_iter().map(|one| one.ip).collect()).into();
        facts.place = place(ask, &model, &facts);
        let is = |place| facts.place.contains(&place);
        if is(Place::Balancer) {
            facts.interfaces = link::interfaces(&netlink, &model).await;
            facts.other_ways_in = link::other_ways_in(&netlink, &model).await;
            facts.paths = path::to_instances(&netlink, &model).await;
            facts.clocks = host::clocks(&model);
        }
        if is(Place::Instance) {
            facts.ways_back = path::back(&netlink, &model).await;
            facts.listeners = service::listeners(&model);
        }
        facts.claimed = link::claimed(&netlink, &model).await;
        anyhow::Ok(())
    })?;
    if !ask.is_first {
        facts.management = service::management(ask, &model, &facts);
        facts.names = service::names(ask, &model);
    }
    Ok(facts)
}

fn configured(ask: &Ask) -> Seen<Configured> {
    let now = SystemTime::now();
    let path = ask.file.display().to_string();
    match config::load(&ask.file) {
        Ok(model) => Seen::Seen(Configured {
            path,
            model,
            certified: config::certified(&ask.file, now),
            now: now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64),
        }),
        Err(faults) => Seen::Unseen(faults.to_string()),
    }
}

/// By what runs and what is configured here.
fn place(ask: &Ask, model: &Model, facts: &Facts) -> BTreeSet<Place> {
    if !ask.place.is_empty() {
        return ask.place.clone();
    }
    let none = BTreeSet::new();
    let own = if let Seen::Seen(own) = &facts.addresses { own } else { &none };
    let runs = matches!(facts.status, Seen::Seen(Some(_)));
    let is_attached =
        pins::programs(&model.service.name, pins::Piece::Balancer).is_ok_and(|all| !all.is_empty());
    let is_listed = model.balancer.address.iter().any(|address| own.contains(address));
    let mut place = BTreeSet::new();
    if ask.is_first || runs || is_attached || is_listed {
        place.insert(Place::Balancer);
    }
    if model.instances.iter().flat_map(|one| &one.dip).any(|dip| own.contains(dip)) {
        place.insert(Place::Instance);
    }
    if place.is_empty() {
        place.insert(Place::Client);
    }
    place
}
