//! What the probes say, and what follows for shares and resets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::State;
use crate::{
    balance::paths::{self, NoPath, Which},
    model::{AdminState, Instance, InstanceName, Via},
    plan::Plan,
    probe::{
        Report, Target, Targets, Way,
        availability::Availability,
        policy::{Decision, STEPS},
        watch::{Change, Watched},
    },
};

impl State {
    /// Whom to probe, and how: each instance at the first of its addresses that packets get to, if there is one.
    pub(in crate::balance) fn targets(&self) -> Targets {
        let targets = self.model.instances.iter().filter_map(|instance| {
            let ip = self.probed_at(instance)?;
            let hop = self.hops.get(&(instance.name.clone(), ip));
            let source = hop.map(|hop| hop.source).filter(|source| !source.is_unspecified());
            let address = SocketAddr::new(ip, self.model.probe.port);
            Some((instance.name.clone(), vec![Target { address, way: Way::Direct { source } }]))
        });
        targets.collect()
    }

    fn probed_at(&self, instance: &Instance) -> Option<IpAddr> {
        let reached = |dip: &&IpAddr| self.hops.contains_key(&(instance.name.clone(), **dip));
        instance.dip.iter().find(reached).or_else(|| instance.dip.first()).copied()
    }

    /// Takes up a probe's result: the change that it makes, if any. [`Self::decide`] says what follows.
    pub(in crate::balance) fn probed(&mut self, report: &Report) -> Option<Change> {
        if self.model.probe.via == Via::Vip {
            self.note_paths(report);
        }
        self.watch.take_up(report, &self.model.probe)
    }

    /// How each instance is connected to through the VIP.
    pub(in crate::balance) fn paths(&self, plan: &Plan, which: Which) -> Targets {
        paths::targets(&self.model, &self.hops, self.local.as_ref(), plan, which)
    }

    /// How one instance is connected to by a VIP's port.
    pub(in crate::balance) fn path(
        &self,
        plan: &Plan,
        instance: &Instance,
        address: SocketAddr,
    ) -> Result<Target, NoPath> {
        paths::one(&self.model, &self.hops, self.local.as_ref(), plan, instance, address)
    }

    /// Counts what came of connections through the VIP, to whoever is in the file.
    pub(in crate::balance) fn note_paths(&mut self, report: &Report) {
        self.availability.note(&report.instance, &report.asked);
        let model = &self.model;
        self.availability.keep(|instance, vip| {
            model.instance(&instance.0).is_some()
                && model.vip.private.contains(&vip.ip())
                && model.probe.vip_port == vip.port()
        });
    }

    /// There are none any more.
    pub(in crate::balance) fn forget_paths(&mut self) {
        self.availability = Availability::default();
    }

    /// How connections through the VIP fare.
    pub(in crate::balance) fn availability(&self) -> &Availability {
        &self.availability
    }

    /// The interface by which an instance is reached, if it is known.
    pub(in crate::balance) fn probed_by(&self, report: &Report) -> Option<u32> {
        let by_address = self.hops.get(&(report.instance.clone(), report.address.ip()));
        // At a VIP, by whatever leads to the instance.
        let by_any = || self.hops_of(&report.instance).next().map(|(_, hop)| hop);
        by_address.or_else(by_any).map(|hop| hop.interface)
    }

    /// Decides anew who gets new flows and whose flows are reset. True if the tables have to follow.
    pub(in crate::balance) fn decide(&mut self, now: Instant) -> bool {
        let admin_states = self.admin_states();
        self.watch.decide(&self.model, &admin_states, now)
    }

    /// Takes up who is in the file now.
    pub(super) fn watch_the_file(&mut self, now: Instant) {
        let admin_states = self.admin_states();
        self.watch.follow(&self.model, &admin_states, now);
    }

    fn admin_states(&self) -> BTreeMap<InstanceName, AdminState> {
        let state = |one: &Instance| self.overrides.get(&one.name).copied().unwrap_or(one.admin_state);
        self.model.instances.iter().map(|one| (one.name.clone(), state(one))).collect()
    }

    /// The weight that each instance of the file has now.
    pub(in crate::balance) fn shares(&self) -> BTreeMap<InstanceName, u16> {
        self.decision().shares.clone()
    }

    /// Whose flows are reset.
    pub(in crate::balance) fn gone(&self) -> BTreeSet<InstanceName> {
        self.decision().gone.clone()
    }

    /// What was decided last.
    pub(in crate::balance) fn decision(&self) -> &Decision {
        self.watch.decision()
    }

    /// Which step an instance's slow start is at, and of how many.
    pub(in crate::balance) fn slow_start(&self, name: &InstanceName) -> Option<(u16, u16)> {
        Some((*self.decision().starting.get(name)?, STEPS))
    }

    /// When the next step of a slow start is due.
    pub(in crate::balance) fn next_step(&self) -> Option<Instant> {
        self.decision().next_step
    }

    /// What is known of an instance of the file by its probes.
    pub(in crate::balance) fn watched(&self, name: &InstanceName) -> Option<&Watched> {
        self.watch.instance(name)
    }
}
