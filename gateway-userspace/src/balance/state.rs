//! What the daemon knows, and what follows for the tables. Pure: time is an argument.

mod door;
mod health;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use super::{
    saved::{Clock, Reached, Saved},
    ways::{Hop, Hops},
};
use crate::{
    model::{AdminState, Forwarding, InstanceName, Model},
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

    /// True if the tables have to follow.
    pub(super) fn set_interface_mac(&mut self, index: u32, mac: Mac) -> bool {
        let ours =
            self.interfaces.iter_mut().find(|interface| interface.index == index && interface.mac != mac);
        let Some(interface) = ours else { return false };
        interface.mac = mac;
        true
    }

    /// Every neighbour on an interface that has to be resolved, and stay so.
    pub(super) fn wanted(&self, interface: u32) -> BTreeSet<IpAddr> {
        let there = self.hops.values().filter(|hop| hop.interface == interface);
        there.map(|hop| hop.neighbour).collect()
    }

    /// Who a neighbour is, for people; none where nobody is reached by it.
    pub(super) fn who(&self, interface: u32, neighbour: IpAddr) -> Option<String> {
        let mut names = self.by(interface, neighbour).peekable();
        names.peek()?;
        let own = names.filter(|(_, dip)| *dip == neighbour).map(|(name, _)| name);
        // Rather one of the file than one that is drained under an older name.
        let instance = own.min_by_key(|name| self.model.instance(&name.0).is_none());
        Some(instance.map_or_else(|| "the router".to_owned(), ToString::to_string))
    }

    fn by(&self, interface: u32, neighbour: IpAddr) -> impl Iterator<Item = &(InstanceName, IpAddr)> {
        let there =
            self.hops.iter().filter(move |(_, hop)| hop.interface == interface && hop.neighbour == neighbour);
        there.map(|(key, _)| key)
    }

    /// Whether the neighbour was resolved before.
    pub(super) fn knows(&self, interface: u32, neighbour: IpAddr) -> bool {
        self.macs.contains_key(&(interface, neighbour))
    }

    /// True if a way changed by this, so that the tables have to follow.
    pub(super) fn learn(&mut self, interface: u32, neighbour: IpAddr, mac: Mac) -> bool {
        let keys: Vec<_> = self.by(interface, neighbour).cloned().collect();
        if keys.is_empty() {
            return false;
        }
        self.macs.insert((interface, neighbour), mac);
        // Not `any`, which would stop at the first.
        keys.into_iter().filter(|key| self.follow(key)).count() > 0
    }

    /// Takes up what the routes say now. Where there is none any more, the last one stays. True if the tables have to
    /// follow.
    pub(super) fn reroute(&mut self, hops: Hops) -> bool {
        let moved = |(key, hop): &(_, _)| self.hops.get(key) != Some(hop);
        let moved: Vec<_> = hops.into_iter().filter(moved).collect();
        let keys: Vec<_> = moved.iter().map(|(key, _)| key.clone()).collect();
        self.hops.extend(moved);
        self.forget_what_is_not_wanted();
        keys.into_iter().filter(|key| self.follow(key)).count() > 0
    }

    /// Brings a way to what its hop and MAC say, if that is known. True if it changed.
    fn follow(&mut self, key: &(InstanceName, IpAddr)) -> bool {
        let Some(hop) = self.hops.get(key) else { return false };
        let Some(&mac) = self.macs.get(&(hop.interface, hop.neighbour)) else { return false };
        let way = Way { interface: hop.interface, mac, mtu: hop.mtu, source: hop.source };
        self.ways.insert(key.clone(), way) != Some(way)
    }

    /// Instances of the file that wait for a MAC: for that of each address with `nat`, where a packet goes to the one of
    /// its own family, else for any.
    pub(super) fn unresolved(&self) -> BTreeSet<InstanceName> {
        let served: BTreeSet<_> = self.ways.keys().map(|(name, _)| name).collect();
        let nat = self.model.balancer.forwarding == Forwarding::Nat;
        let used = |dip: IpAddr| self.model.vip.all().any(|vip| vip.is_ipv4() == dip.is_ipv4());
        let waiting = |key: &&(InstanceName, IpAddr)| match nat {
            true => used(key.1) && !self.ways.contains_key(key),
            false => !served.contains(&key.0),
        };
        let names = self.hops.keys().filter(waiting).map(|(name, _)| name);
        names.filter(|name| self.model.instance(&name.0).is_some()).cloned().collect()
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

    fn drain_what_is_not_served(&mut self, before: impl IntoIterator<Item = InstanceName>, now: Instant) {
        let drain = self.model.balancer.drain;
        for name in before {
            if !self.serves(&name) && !self.ended.contains(&name) {
                self.draining.entry(name).or_insert_with(|| now.checked_add(drain));
            }
        }
        let serving: Vec<_> =
            self.model.instances.iter().map(|i| i.name.clone()).filter(|n| self.serves(n)).collect();
        self.draining.retain(|name, _| !serving.contains(name));
        self.ended.retain(|name| !serving.contains(name));
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

    fn serves(&self, name: &InstanceName) -> bool {
        self.admin_state(name).is_some_and(|state| state != AdminState::Down)
    }

    fn forget_what_is_not_wanted(&mut self) {
        let wanted: BTreeSet<_> = self.hops.values().map(|hop| (hop.interface, hop.neighbour)).collect();
        self.macs.retain(|neighbour, _| wanted.contains(neighbour));
        self.ways.retain(|key, _| self.hops.contains_key(key));
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

    /// Who is drained, and until when; none if the clock cannot tell it.
    pub(super) fn drains(&self) -> impl Iterator<Item = (&InstanceName, Option<Instant>)> {
        self.draining.iter().map(|(name, end)| (name, *end))
    }

    /// By DIP, the next step of packets to an instance.
    pub(super) fn hops_of(&self, name: &InstanceName) -> impl Iterator<Item = (IpAddr, &Hop)> {
        let first = (name.clone(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let of = self.hops.range(first..).take_while(move |((one, _), _)| one == name);
        of.map(|((_, dip), hop)| (*dip, hop))
    }

    /// How packets leave for an instance's address, once its next hop was resolved.
    pub(super) fn way(&self, name: &InstanceName, dip: IpAddr) -> Option<&Way> {
        self.ways.get(&(name.clone(), dip))
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
        self.end_drains_of(&ended);
        ended
    }

    /// Ends drains: these have no flow any more, or may have none.
    pub(super) fn end_drains_of(&mut self, names: &[InstanceName]) {
        for name in names {
            self.draining.remove(name);
            if self.model.instance(&name.0).is_none() {
                self.hops.retain(|(one, _), _| one != name);
            }
        }
        self.forget_what_is_not_wanted();
        self.ended.extend(names.iter().cloned());
    }

    /// What the next process has to know to go on from here, but for the configuration.
    pub(super) fn saved(&self, clock: Clock) -> Saved {
        let end = |end: &Option<Instant>| end.and_then(|end| clock.number(end));
        let reached = |((instance, dip), hop): (&(InstanceName, IpAddr), &Hop)| Reached {
            instance: instance.clone(),
            dip: *dip,
            hop: *hop,
            way: self.ways.get(&(instance.clone(), *dip)).copied(),
        };
        Saved {
            overrides: self.overrides.clone(),
            draining: self.draining.iter().map(|(name, at)| (name.clone(), end(at))).collect(),
            ended: self.ended.clone(),
            health: self.watch.saved(&self.model.probe, |moment| clock.number(moment)),
            ways: self.hops.iter().map(reached).collect(),
            macs: self.macs.iter().map(|(&(interface, ip), &mac)| (interface, ip, mac)).collect(),
            ..Saved::default()
        }
    }

    /// Goes on from where the last process was. `names` had numbers there; who does not serve any more is drained from `now` on,
    /// unless that has begun.
    pub(super) fn restore<'n>(
        &mut self,
        saved: &Saved,
        names: impl IntoIterator<Item = &'n InstanceName>,
        node_salt: u64,
        clock: Clock,
        now: Instant,
    ) {
        let names: BTreeSet<_> = names.into_iter().cloned().collect();
        self.node_salt = node_salt;
        self.overrides = saved.overrides.clone();
        self.ended = saved.ended.clone();
        self.watch.restore(&saved.health, &names, &self.model.probe, |number| clock.past(number));
        self.decide(now);
        self.draining.clear();
        self.drain_what_is_not_served(names, now);
        let configured: Vec<_> = self.model.instances.iter().map(|one| one.name.clone()).collect();
        self.drain_what_is_not_served(configured, now);
        for (name, end) in &mut self.draining {
            if let Some(begun) = saved.draining.get(name) {
                *end = begun.and_then(|number| clock.moment(number));
            }
        }
        for Reached { instance, dip, hop, way } in &saved.ways {
            let key = (instance.clone(), *dip);
            if self.draining.contains_key(instance) && self.model.instance(&instance.0).is_none() {
                self.hops.insert(key.clone(), *hop);
            }
            if let Some(way) = way.filter(|_| self.hops.contains_key(&key)) {
                self.ways.insert(key, way);
            }
        }
        self.macs.extend(saved.macs.iter().map(|&(interface, ip, mac)| ((interface, ip), mac)));
        self.forget_what_is_not_wanted();
        let keys: Vec<_> = self.hops.keys().cloned().collect();
        for key in keys {
            self.follow(&key);
        }
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
            node_salt: self.node_salt,
            now: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::Side,
        testing::{instance, model},
    };

    const MAC: Mac = [2, 0, 0, 0, 0, 11];
    const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 12];
    const LINK: u32 = 2;
    const INTERFACE: Interface = Interface { index: LINK, mac: [2, 0, 0, 0, 0, 1], side: Side::Both };

    fn hop(neighbour: IpAddr) -> Hop {
        Hop { interface: LINK, neighbour, mtu: 1500, source: "10.0.0.1".parse().unwrap() }
    }

    /// Each instance is on the link.
    fn hops(model: &Model) -> Hops {
        let dips = model.instances.iter().flat_map(|i| i.dip.iter().map(|dip| (i.name.clone(), *dip)));
        dips.map(|key| (key.clone(), hop(key.1))).collect()
    }

    fn state(names: &[&str], now: Instant) -> State {
        let model = model(names);
        let hops = hops(&model);
        State::new(&Arc::new(model), vec![INTERFACE], None, hops, now)
    }

    fn take_up(state: &mut State, model: Model, now: Instant) {
        let hops = hops(&model);
        state.take_up(Arc::new(model), hops, now);
    }

    /// Where the tables say that each instance is.
    fn macs(state: &State) -> BTreeMap<InstanceName, Mac> {
        state.desired().ways.into_iter().map(|((name, _), way)| (name, way.mac)).collect()
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
        assert!(state.learn(LINK, dip("gw-1"), MAC));
        assert!(!state.learn(LINK, dip("gw-1"), MAC));
        assert!(state.learn(LINK, dip("gw-1"), OTHER_MAC));
        assert_eq!(macs(&state), BTreeMap::from([(name("gw-1"), OTHER_MAC)]));
        assert_eq!(state.unresolved(), BTreeSet::from([name("gw-2")]));
        assert!(!state.learn(LINK, "192.0.2.1".parse().unwrap(), MAC), "a stranger");
    }

    #[test]
    fn instances_behind_a_router_follow_its_mac() {
        let model = model(&["gw-1", "gw-2"]);
        let router = "10.0.0.254".parse().unwrap();
        let hops = hops(&model).into_keys().map(|key| (key, hop(router))).collect();
        let mut state = State::new(&Arc::new(model), vec![INTERFACE], None, hops, Instant::now());
        assert_eq!(state.wanted(LINK), BTreeSet::from([router]));
        assert!(state.wanted(LINK + 1).is_empty());
        assert!(!state.learn(LINK + 1, router, MAC), "another interface");
        assert!(state.learn(LINK, router, MAC));
        assert_eq!(macs(&state), BTreeMap::from([(name("gw-1"), MAC), (name("gw-2"), MAC)]));
        assert_eq!(state.who(LINK, router).as_deref(), Some("the router"));
        assert_eq!(state.who(LINK, dip("gw-1")), None);
    }

    #[test]
    fn r12_a_way_that_changes_is_gone_once_its_next_hop_is_known_and_one_that_is_lost_stays() {
        let mut state = state(&["gw-1"], Instant::now());
        state.learn(LINK, dip("gw-1"), MAC);
        let before = state.desired().ways;
        assert!(!state.reroute(Hops::new()), "no route any more");
        assert_eq!(state.desired().ways, before);
        let router: IpAddr = "10.0.0.254".parse().unwrap();
        let (key, _) = hops(state.model()).pop_first().unwrap();
        let moved = Hops::from([(key.clone(), Hop { mtu: 1400, ..hop(router) })]);
        assert!(!state.reroute(moved.clone()), "its MAC is not known yet");
        assert_eq!(state.desired().ways, before);
        assert_eq!(state.wanted(LINK), BTreeSet::from([router]));
        assert!(state.learn(LINK, router, OTHER_MAC));
        let way = state.desired().ways[&key];
        assert_eq!((way.mac, way.mtu), (OTHER_MAC, 1400));
        assert!(!state.reroute(moved), "nothing has changed");
    }

    #[test]
    fn in_nat_every_address_is_waited_for() {
        for (mode, waiting) in [(Forwarding::Ipip, 0), (Forwarding::Nat, 1)] {
            let mut model = model(&["gw-1"]);
            model.balancer.forwarding = mode;
            model.vip.private.push("fd00:0:0:1::5".parse().unwrap());
            model.instances[0].dip.push("fd00:0:0:1::11".parse().unwrap());
            let hops = hops(&model);
            let mut state = State::new(&Arc::new(model), vec![INTERFACE], None, hops, Instant::now());
            state.learn(LINK, dip("gw-1"), MAC);
            assert_eq!(state.unresolved().len(), waiting, "{mode}");
        }
    }

    #[test]
    fn r12_a_removed_instance_keeps_its_mac_until_its_drain_is_over() {
        let now = Instant::now();
        let mut state = state(&["gw-1", "gw-2"], now);
        state.learn(LINK, dip("gw-1"), MAC);
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

    #[test]
    fn r12_the_next_process_goes_on_from_there() {
        let (now, clock) = (Instant::now(), Clock::read().unwrap());
        let mut before = state(&["gw-1", "gw-2", "gw-3"], now);
        for of in ["gw-1", "gw-2"] {
            before.learn(LINK, dip(of), MAC);
        }
        before.overrides.insert(name("gw-3"), AdminState::Down);
        take_up(&mut before, model(&["gw-2", "gw-3"]), now);
        let saved = before.saved(clock);
        let names = ["gw-1", "gw-2", "gw-3"].map(name);
        let mut after = state(&["gw-2", "gw-3"], now);
        after.restore(&saved, &names, before.node_salt, clock, now + Duration::from_secs(60));
        assert_eq!(after.saved(clock), saved);
        let (before, after) = (before.desired(), after.desired());
        assert_eq!((before.ways, before.shares), (after.ways, after.shares));
        assert_eq!((before.ended, before.node_salt), (after.ended, after.node_salt));
    }

    #[test]
    fn r12_what_went_from_the_file_meanwhile_is_drained_from_the_next_start_on() {
        let (now, clock) = (Instant::now(), Clock::read().unwrap());
        let mut before = state(&["gw-1", "gw-2"], now);
        before.learn(LINK, dip("gw-1"), MAC);
        let later = now + Duration::from_secs(60);
        let mut after = state(&["gw-2"], later);
        after.restore(&before.saved(clock), &["gw-1", "gw-2"].map(name), 1, clock, later);
        assert_eq!(after.next_drain_end(), Some(later + model(&[]).balancer.drain));
        assert_eq!(macs(&after), BTreeMap::from([(name("gw-1"), MAC)]));
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
        state.learn(LINK, dip("gw-9"), MAC);
        // In the order of names the new one may come before the old one and after it.
        for (old, new) in [("gw-9", "gw-1"), ("gw-1", "gw-2")] {
            let mut renamed = model(&[new]);
            renamed.instances[0].dip = vec![dip("gw-9")];
            take_up(&mut state, renamed, now);
            assert_eq!(state.who(LINK, dip("gw-9")).as_deref(), Some(new));
            assert_eq!(macs(&state).get(&name(old)), Some(&MAC));
            assert_eq!(macs(&state).get(&name(new)), Some(&MAC));
        }
        assert!(state.learn(LINK, dip("gw-9"), OTHER_MAC));
        let followed = ["gw-1", "gw-2", "gw-9"].map(|text| (name(text), OTHER_MAC));
        assert_eq!(macs(&state), BTreeMap::from(followed));
        state.end_drains(state.next_drain_end().unwrap());
        assert_eq!(macs(&state), BTreeMap::from([(name("gw-2"), OTHER_MAC)]));
    }
}
