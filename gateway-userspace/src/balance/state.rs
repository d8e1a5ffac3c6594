//! What the daemon knows, and what follows for the tables. Pure: time is an argument.

mod door;
mod drain;
mod health;
mod saved;
#[cfg(test)]
mod testing;
mod ways;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{leases::Leases, ways::Hops};
use crate::{
    model::{AdminState, InstanceName, Model},
    plan::{Desired, Interface, Mac, Way},
    probe::{availability::Availability, watch::Watch},
};

/// The owner task's state.
#[derive(Debug, Clone)]
pub(super) struct State {
    model: Arc<Model>,
    interfaces: Vec<Interface>,
    local: Option<InstanceName>,
    /// Also of instances that are removed but still drained.
    hops: Hops,
    /// What each neighbour of `hops` last resolved to, by its interface.
    macs: BTreeMap<(u32, IpAddr), Mac>,
    /// The hops that were resolved. An entry that fails later keeps its MAC here: whether the instance lives is for its
    /// probe to say. A hop that leads elsewhere now goes the old way until the new one is resolved.
    ways: BTreeMap<(InstanceName, IpAddr), Way>,
    /// Removed or `down` instances, with the end of their drain; none if the clock cannot tell it.
    draining: BTreeMap<InstanceName, Option<Instant>>,
    ended: BTreeSet<InstanceName>,
    /// Admin states set at run time, in place of the file's (`gateway instance up|down`).
    overrides: BTreeMap<InstanceName, AdminState>,
    /// What the probes say.
    watch: Watch,
    /// How connections through the VIP fare.
    availability: Availability,
    /// SNAT ports.
    leases: Leases,
    node_salt: u64,
}

impl State {
    pub(super) fn new(
        model: &Arc<Model>,
        interfaces: Vec<Interface>,
        local: Option<InstanceName>,
        hops: Hops,
        now: Instant,
    ) -> Self {
        let mut state = Self {
            model: Arc::clone(model),
            interfaces,
            local,
            hops,
            macs: BTreeMap::new(),
            ways: BTreeMap::new(),
            draining: BTreeMap::new(),
            ended: BTreeSet::new(),
            overrides: BTreeMap::new(),
            watch: Watch::default(),
            availability: Availability::default(),
            leases: Leases::default(),
            // Its keys come from the operating system.
            node_salt: RandomState::new().hash_one(()),
        };
        // An instance that is `down` from the start may have flows of a balancer that ran before this one.
        state.drain_what_is_not_served(model.instances.iter().map(|i| i.name.clone()), now);
        state.watch_the_file(now);
        state
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Goes over to another file. What served before and does not any more is drained from `now` on.
    pub(super) fn take_up(&mut self, model: Arc<Model>, mut hops: Hops, now: Instant) {
        let served: Vec<_> = self.model.instances.iter().map(|i| i.name.clone()).collect();
        self.model = model;
        // One that is in the file again some day comes as the file has it.
        self.overrides.retain(|name, _| self.model.instance(&name.0).is_some());
        self.drain_what_is_not_served(served, now);
        // A drained instance is still followed, also where another one has its address now: a new name must not cut
        // the flows of the host that it is given to.
        for (key, hop) in &self.hops {
            if self.draining.contains_key(&key.0) && self.model.instance(&key.0.0).is_none() {
                hops.insert(key.clone(), *hop);
            }
        }
        self.hops = hops;
        self.forget_what_is_not_wanted();
        self.watch_the_file(now);
        // A new one may be reached by a neighbour that is known.
        let keys: Vec<_> = self.hops.keys().cloned().collect();
        for key in keys {
            self.follow(&key);
        }
    }

    /// What holds now: set at run time, or in the file. None of an instance that the file does not have.
    pub(super) fn admin_state(&self, name: &InstanceName) -> Option<AdminState> {
        let written = self.model.instance(&name.0)?.admin_state;
        Some(self.overrides.get(name).copied().unwrap_or(written))
    }

    /// Sets an admin state at run time, or takes it back, so that the file's holds again. What serves no more is drained from
    /// `now` on; what serves again is not drained any more. True if the tables have to follow.
    pub(super) fn set_admin_state(
        &mut self,
        name: &InstanceName,
        state: Option<AdminState>,
        now: Instant,
    ) -> bool {
        let before = self.admin_state(name);
        let served = self.serves(name).then(|| name.clone());
        match state {
            Some(state) => self.overrides.insert(name.clone(), state),
            None => self.overrides.remove(name),
        };
        self.drain_what_is_not_served(served, now);
        self.decide(now);
        before != self.admin_state(name)
    }

    /// Whether the admin state was set at run time.
    pub(super) fn is_overridden(&self, name: &InstanceName) -> bool {
        self.overrides.contains_key(name)
    }

    /// Admin states set at run time.
    pub(super) fn overrides(&self) -> &BTreeMap<InstanceName, AdminState> {
        &self.overrides
    }

    /// Has these hold, and no others.
    pub(super) fn set_overrides(&mut self, overrides: BTreeMap<InstanceName, AdminState>, now: Instant) {
        let served: Vec<_> = self
            .model
            .instances
            .iter()
            .map(|one| one.name.clone())
            .filter(|name| self.serves(name))
            .collect();
        self.overrides = overrides;
        self.drain_what_is_not_served(served, now);
        self.decide(now);
    }

    /// Whose SNAT ports are whose.
    pub(super) const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// To take in what was heard.
    pub(super) const fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// Gives and takes back the SNAT ports that are due; `known` are the instances that tables can name.
    pub(super) fn lend(&mut self, known: &BTreeSet<InstanceName>, now: Instant) {
        self.leases.step(&self.model, known, now);
    }

    /// What the tables are made from.
    pub(super) fn desired(&self) -> Desired {
        Desired {
            model: Arc::clone(&self.model),
            interfaces: self.interfaces.clone(),
            ways: self.ways.clone(),
            local: self.local.clone(),
            ended: self.ended.clone(),
            gone: self.gone(),
            shares: self.shares(),
            leases: self.leases.table(),
            node_salt: self.node_salt,
            now: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn r83_an_admin_state_set_at_run_time_drains_and_is_taken_back() {
        let now = Instant::now();
        let mut state = state(&["gw-1", "gw-2"], now);
        let gw_1 = name("gw-1");
        assert!(state.set_admin_state(&gw_1, Some(AdminState::Down), now));
        assert_eq!(state.desired().shares[&gw_1], 0);
        assert_eq!(state.next_drain_end(), Some(now + model(&[]).balancer.drain));
        assert!(!state.set_admin_state(&gw_1, Some(AdminState::Down), now), "so it is");
        assert!(state.set_admin_state(&gw_1, None, now));
        assert_eq!((state.desired().shares[&gw_1], state.next_drain_end()), (100, None));
        assert!(!state.set_admin_state(&name("gw-9"), Some(AdminState::Down), now), "not in the file");
        assert_eq!(state.next_drain_end(), None);
    }
}
