//! A route's upstreams as they are now: those with names at all addresses that the DNS has for them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    choose::Set,
    health::Standing,
    limit::Bound,
    names::Name,
    peer::{Peer, Upstreams},
    server::Server,
};
use crate::{
    maglev::hash,
    model::{Location, Upstream},
};

/// All of them at one time.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    /// The nearest first.
    pub(super) tiers: Vec<Set>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: Arc<Peer>,
    /// If it is probed.
    pub(super) standing: Option<Arc<Standing>>,
    /// If it is limited.
    pub(super) bound: Option<Arc<Bound>>,
    pub(super) seed: u64,
}

/// Upstreams of which some have names.
#[derive(Debug)]
pub(super) struct Followed {
    locations: Vec<Location>,
    names: Vec<Arc<Name>>,
    /// Swapped whole when an address comes or goes: requests go on with what they began with.
    members: ArcSwap<Members>,
}

impl Members {
    /// Of locations, the nearest first.
    pub(super) fn new(locations: &[Location], names: &[Arc<Name>], upstreams: &Upstreams) -> Self {
        let known = |host: &str| {
            names.iter().find(|name| name.host == host).map(|name| name.addresses()).unwrap_or_default()
        };
        let mut members = Self::default();
        let mut last = None;
        for location in locations {
            if last != Some(location.priority) {
                members.tiers.push(Set::EMPTY);
                last = Some(location.priority);
            }
            for server in location.upstream.iter().flat_map(|upstream| Server::all(upstream, known)) {
                if members.all.len() == Set::MOST {
                    log::warn!("{server} is left out: a route has {} upstreams at most", Set::MOST);
                    continue;
                }
                if let Some(tier) = members.tiers.last_mut() {
                    *tier = tier.with(members.all.len());
                }
                members.all.push(Member::new(&server, location, upstreams));
            }
        }
        members
    }
}

impl Member {
    fn new(server: &Server, location: &Location, upstreams: &Upstreams) -> Self {
        Self {
            peer: upstreams.peer(server),
            standing: location.health.as_ref().map(|check| upstreams.standing(server, check)),
            bound: location.limits.as_ref().map(|limits| upstreams.bound(server, limits)),
            seed: hash(&[server.to_string().as_bytes()]),
        }
    }
}

impl Followed {
    /// None if nothing has a name.
    pub(super) fn new(locations: &[Location], upstreams: &Upstreams) -> Option<Arc<Self>> {
        let hosts = locations.iter().flat_map(|location| &location.upstream).filter_map(Upstream::host);
        let mut names: Vec<Arc<Name>> = Vec::new();
        for host in hosts {
            if !names.iter().any(|name| name.host == host) {
                names.push(upstreams.names.name(host));
            }
        }
        if names.is_empty() {
            return None;
        }
        let followed = Self { locations: locations.to_vec(), names, members: ArcSwap::default() };
        let followed = Arc::new(followed);
        // In this order: no change is missed.
        upstreams.names.tell(&followed);
        followed.follow(upstreams);
        Some(followed)
    }

    /// Goes by what is known of the names now.
    pub(super) fn follow(&self, upstreams: &Upstreams) {
        self.members.store(Arc::new(Members::new(&self.locations, &self.names, upstreams)));
    }

    pub(super) fn has(&self, name: &Arc<Name>) -> bool {
        self.names.iter().any(|one| Arc::ptr_eq(one, name))
    }

    pub(super) fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Until the DNS was asked for each name once.
    pub(super) async fn asked(&self) {
        for name in &self.names {
            name.asked().await;
        }
    }
}
