//! Facts by I/O: the kernel, the network, the running balancer. Nothing is changed, and what cannot be had is a fact too.

mod host;
mod link;
mod path;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;

use super::facts::{Configured, Facts, Place, Seen};
use crate::{
    config,
    dataplane::pins,
    model::Model,
    net::{self, Netlink, address::Address, link::Link},
};

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

/// This host's interfaces and their addresses, asked for once.
struct Here {
    links: Vec<Link>,
    addresses: Vec<Address>,
}

impl Here {
    async fn look(netlink: &Netlink) -> Result<Self, net::Error> {
        Ok(Self { links: netlink.links().await?, addresses: netlink.addresses().await? })
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    fn by_address(&self) -> BTreeMap<IpAddr, BTreeSet<String>> {
        let mut by_address = BTreeMap::<_, BTreeSet<_>>::new();
        for one in &self.addresses {
            let name = self.link(one.link).map(|link| link.name.clone());
            by_address.entry(one.ip).or_default().extend(name);
        }
        by_address
    }
}

/// Looks at everything.
///
/// # Errors
/// There is no event loop, or the kernel does not list this host's interfaces.
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
    let here = runtime.block_on(async {
        let netlink = Netlink::open()?;
        let here = Here::look(&netlink).await?;
        facts.addresses = Seen::Seen(here.by_address());
        facts.place = place(ask, &model, &facts);
        let is = |place| facts.place.contains(&place);
        if is(Place::Balancer) {
            let mut interfaces = link::interfaces(&here, &model);
            let counted = link::counted(&interfaces);
            facts.other_ways_in = Seen::Seen(link::other_ways_in(&here, &model));
            facts.paths = path::to_instances(&netlink, &here, &model).await;
            facts.clocks = host::clocks(&model);
            // It may have to wait, and before the first start nothing was sent.
            if !ask.is_first {
                link::sent(&mut interfaces, &counted);
            }
            facts.interfaces = Seen::Seen(interfaces);
        } else {
            facts.unfinished = link::unfinished(&netlink, &here, &model).await;
        }
        if is(Place::Instance) {
            facts.ways_back = path::back(&netlink, &here, &model).await;
            facts.listeners = service::listeners(&model);
        }
        facts.claimed = link::claimed(&netlink, &here, &model).await;
        anyhow::Ok(here)
    })?;
    if !ask.is_first {
        facts.management = service::management(ask, &here, &model, &facts);
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
    let none = BTreeMap::new();
    let own = if let Seen::Seen(own) = &facts.addresses { own } else { &none };
    let runs = matches!(facts.status, Seen::Seen(Some(_)));
    let is_attached =
        pins::programs(&model.service.name, pins::Piece::Balancer).is_ok_and(|all| !all.is_empty());
    let is_listed = model.balancer.address.iter().any(|address| own.contains_key(address));
    let mut place = BTreeSet::new();
    if ask.is_first || runs || is_attached || is_listed {
        place.insert(Place::Balancer);
    }
    if model.instances.iter().flat_map(|one| &one.dip).any(|dip| own.contains_key(dip)) {
        place.insert(Place::Instance);
    }
    if place.is_empty() {
        place.insert(Place::Client);
    }
    place
}
