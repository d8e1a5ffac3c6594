//! What the daemon knows, and what follows for the tables. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use crate::{
    model::{AdminState, InstanceName, Model},
    plan::{Desired, Interface, Mac, Way},
};

/// IP over Ethernet.
const ETHERNET_MTU: u16 = 1500;

/// The DIPs of each instance that are on the balancer's link, in the order of the file.
pub(super) type OnLink = BTreeMap<InstanceName, Vec<IpAddr>>;

/// The owner task's state.
#[derive(Debug, Clone)]
pub(super) struct State {
    model: Arc<Model>,
    interface: Interface,
    local: Option<InstanceName>,
    /// Also of instances that are removed but still drained.
    on_link: OnLink,
    /// What each address of `on_link` last resolved to. An entry that fails later keeps its MAC here: whether the
    /// instance lives is for its probe to say.
    macs: BTreeMap<IpAddr, Mac>,
    /// Removed or `down` instances, with the end of their drain; none if the clock cannot tell it.
    draining: BTreeMap<InstanceName, Option<Instant>>,
    ended: BTreeSet<InstanceName>,
    node_salt: u64,
}

impl State {
    pub(super) fn new(
        model: &Arc<Model>,
        interface: Interface,
        local: Option<InstanceName>,
        on_link: OnLink,
        now: Instant,
    ) -> Self {
        let mut state = Self {
            model: Arc::clone(model),
            interface,
            local,
            on_link,
            macs: BTreeMap::new(),
            draining: BTreeMap::new(),
            ended: BTreeSet::new(),
            // Its keys come from the operating system.
            node_salt: RandomState::new().hash_one(()),
        };
        // An instance that is `down` from the start may have flows of a balancer that ran before this one.
        state.drain_what_is_not_served(model.instances.iter().map(|i| i.name.clone()), now);
        state
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// True if the tables have to follow.
    pub(super) fn set_interface_mac(&mut self, mac: Mac) -> bool {
        let changed = self.interface.mac != mac;
        self.interface.mac = mac;
        changed
    }

    /// Every address that has to be resolved, and stay so.
    pub(super) fn wanted(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.on_link.values().flatten().copied()
    }

    /// The instance of an address on the link: rather one of the file than one that is drained under an older name.
    pub(super) fn instance_of(&self, ip: IpAddr) -> Option<&InstanceName> {
        let drained = |name: &&InstanceName| self.model.instance(&name.0).is_none();
        self.with_address(ip).min_by_key(drained)
    }

    fn with_address(&self, ip: IpAddr) -> impl Iterator<Item = &InstanceName> {
        self.on_link.iter().filter(move |(_, dips)| dips.contains(&ip)).map(|(name, _)| name)
    }

    /// Whether `ip` was resolved before.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.macs.contains_key(&ip)
    }

    /// True if an instance's MAC changed by this, so that the tables have to follow.
    pub(super) fn learn(&mut self, ip: IpAddr, mac: Mac) -> bool {
        let names: Vec<_> = self.with_address(ip).cloned().collect();
        if names.is_empty() {
            return false;
        }
        let macs = |state: &Self| names.iter().map(|name| state.mac_of(name)).collect::<Vec<_>>();
        let before = macs(self);
        self.macs.insert(ip, mac);
        before != macs(self)
    }

    /// By its first address that is resolved: they are all on one link.
    fn mac_of(&self, name: &InstanceName) -> Option<Mac> {
        self.on_link.get(name)?.iter().find_map(|dip| self.macs.get(dip)).copied()
    }

    /// Instances of the file that wait for their MAC.
    pub(super) fn unresolved(&self) -> Vec<InstanceName> {
        let waiting =
            |name: &&InstanceName| self.model.instance(&name.0).is_some() && self.mac_of(name).is_none();
        self.on_link.keys().filter(waiting).cloned().collect()
    }

    /// Goes over to another file. What served before and does not any more is drained from `now` on.
    pub(super) fn take_up(&mut self, model: Arc<Model>, mut on_link: OnLink, now: Instant) {
        let served: Vec<_> = self.model.instances.iter().map(|i| i.name.clone()).collect();
        self.model = model;
        self.drain_what_is_not_served(served, now);
        // A drained instance is still followed, also where another one has its address now: a new name must not cut
        // the flows of the host that it is given to.
        for name in self.draining.keys() {
            if let Some(dips) = self.on_link.get(name).filter(|_| !on_link.contains_key(name)) {
                on_link.insert(name.clone(), dips.clone());
            }
        }
        self.on_link = on_link;
        self.forget_what_is_not_wanted();
    }

    fn drain_what_is_not_served(&mut self, before: impl IntoIterator<Item = InstanceName>, now: Instant) {
        let serves = |model: &Model, name: &InstanceName| {
            model.instance(&name.0).is_some_and(|i| i.admin_state != AdminState::Down)
        };
        let drain = self.model.balancer.drain;
        for name in before {
            if !serves(&self.model, &name) && !self.ended.contains(&name) {
                self.draining.entry(name).or_insert_with(|| now.checked_add(drain));
            }
        }
        let model = Arc::clone(&self.model);
        self.draining.retain(|name, _| !serves(&model, name));
        self.ended.retain(|name| !serves(&model, name));
    }

    fn forget_what_is_not_wanted(&mut self) {
        let wanted: BTreeSet<_> = self.wanted().collect();
        self.macs.retain(|ip, _| wanted.contains(ip));
    }

    /// When the next drain is over.
    pub(super) fn next_drain_end(&self) -> Option<Instant> {
        self.draining.values().flatten().min().copied()
    }

    /// Ends the drains that are over and says whose.
    pub(super) fn end_drains(&mut self, now: Instant) -> Vec<InstanceName> {
        let over = |end: &Option<Instant>| end.is_some_and(|end| end <= now);
        let ended: Vec<_> =
            self.draining.iter().filter(|(_, end)| over(end)).map(|(name, _)| name.clone()).collect();
        for name in &ended {
            self.draining.remove(name);
            if self.model.instance(&name.0).is_none() {
                self.on_link.remove(name);
            }
        }
        self.forget_what_is_not_wanted();
        self.ended.extend(ended.iter().cloned());
        ended
    }

    /// What the tables are made from.
    pub(super) fn desired(&self) -> Desired {
        let way = |dip: &IpAddr| {
            let mac = *self.macs.get(dip)?;
            Some(Way { interface: self.interface.index, mac, mtu: ETHERNET_MTU, source: *dip })
        };
        let ways = self.on_link.iter().flat_map(|(name, dips)| {
            dips.iter().filter_map(move |dip| Some(((name.clone(), *dip), way(dip)?)))
        });
        Desired {
            model: Arc::clone(&self.model),
            interfaces: vec![self.interface],
            ways: ways.collect(),
            local: self.local.clone(),
            ended: self.ended.clone(),
            gone: BTreeSet::new(),
            node_salt: self.node_salt,
            now: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{instance, model};

    const MAC: Mac = [2, 0, 0, 0, 0, 11];
    const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 12];
    const INTERFACE: Interface =
        Interface { index: 2, mac: [2, 0, 0, 0, 0, 1], side: crate::plan::Side::Both };

    fn macs(state: &State) -> BTreeMap<InstanceName, Mac> {
        state.desired().ways.into_iter().rev().map(|((name, _), way)| (name, way.mac)).collect()
    }

    fn on_link(model: &Model) -> OnLink {
        model.instances.iter().map(|i| (i.name.clone(), i.dip.clone())).collect()
    }

    fn state(names: &[&str], now: Instant) -> State {
        let model = model(names);
        let on_link = on_link(&model);
        State::new(&Arc::new(model), INTERFACE, None, on_link, now)
    }

    fn take_up(state: &mut State, model: Model, now: Instant) {
        let on_link = on_link(&model);
        state.take_up(Arc::new(model), on_link, now);
    }

    fn name(text: &str) -> InstanceName {
        InstanceName(text.into())
    }

    fn dip(of: &str) -> IpAddr {
        instance(of).dip[0]
    }

    #[test]
    fn a_new_mac_is_followed_and_the_same_one_is_no_change() {
        let mut state = state(&["gw-1", "gw-2"], Instant::now());
        assert!(state.learn(dip("gw-1"), MAC));
        assert!(!state.learn(dip("gw-1"), MAC));
        assert!(state.learn(dip("gw-1"), OTHER_MAC));
        assert_eq!(macs(&state), BTreeMap::from([(name("gw-1"), OTHER_MAC)]));
        assert_eq!(state.unresolved(), [name("gw-2")]);
        assert!(!state.learn("192.0.2.1".parse().unwrap(), MAC), "a stranger");
    }

    #[test]
    fn r12_a_removed_instance_keeps_its_mac_until_its_drain_is_over() {
        let now = Instant::now();
        let mut state = state(&["gw-1", "gw-2"], now);
        state.learn(dip("gw-1"), MAC);
        take_up(&mut state, model(&["gw-2"]), now);
        assert_eq!(macs(&state).get(&name("gw-1")), Some(&MAC));
        assert!(state.desired().ended.is_empty());
        let end = state.next_drain_end().unwrap();
        assert_eq!(end, now + model(&[]).balancer.drain);
        assert!(state.end_drains(end - Duration::from_nanos(1)).is_empty());
        assert_eq!(state.end_drains(end), [name("gw-1")]);
        assert_eq!(state.desired().ended, BTreeSet::from([name("gw-1")]));
        assert_eq!(macs(&state).get(&name("gw-1")), None);
        assert_eq!(state.next_drain_end(), None);
    }

    #[test]
    fn r83_an_instance_that_comes_back_is_not_ended() {
        let now = Instant::now();
        let mut state = state(&["gw-1"], now);
        let mut down = model(&["gw-1"]);
        down.instances[0].admin_state = AdminState::Down;
        take_up(&mut state, down, now);
        let end = state.next_drain_end().unwrap();
        take_up(&mut state, model(&["gw-1"]), now);
        assert!(state.end_drains(end).is_empty());
        take_up(&mut state, model(&[]), now);
        assert_eq!(state.end_drains(end), [name("gw-1")]);
        take_up(&mut state, model(&["gw-1"]), end);
        assert!(state.desired().ended.is_empty());
    }

    #[test]
    fn a_drain_is_not_prolonged_by_reading_the_file_again() {
        let now = Instant::now();
        let mut state = state(&["gw-1", "gw-2"], now);
        take_up(&mut state, model(&["gw-2"]), now);
        let end = state.next_drain_end();
        take_up(&mut state, model(&["gw-2"]), now + Duration::from_secs(60));
        assert_eq!(state.next_drain_end(), end);
    }

    #[test]
    fn r12_an_instance_that_gets_another_name_keeps_its_flows() {
        let now = Instant::now();
        let mut state = state(&["gw-9"], now);
        state.learn(dip("gw-9"), MAC);
        // In the order of names the new one may come before the old one and after it.
        for (old, new) in [("gw-9", "gw-1"), ("gw-1", "gw-2")] {
            let mut renamed = model(&[new]);
            renamed.instances[0].dip = vec![dip("gw-9")];
            take_up(&mut state, renamed, now);
            assert_eq!(state.instance_of(dip("gw-9")), Some(&name(new)));
            assert_eq!(macs(&state).get(&name(old)), Some(&MAC));
            assert_eq!(macs(&state).get(&name(new)), Some(&MAC));
        }
        assert!(state.learn(dip("gw-9"), OTHER_MAC));
        let followed = ["gw-1", "gw-2", "gw-9"].map(|text| (name(text), OTHER_MAC));
        assert_eq!(macs(&state), BTreeMap::from(followed));
        state.end_drains(state.next_drain_end().unwrap());
        assert_eq!(macs(&state), BTreeMap::from([(name("gw-2"), OTHER_MAC)]));
    }
}
