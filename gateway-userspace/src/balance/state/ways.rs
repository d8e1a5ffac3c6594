//! How packets get to the instances: next hops by the routes, and their MAC addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use super::State;
use crate::{
    balance::ways::{Hop, Hops},
    model::{Forwarding, InstanceName},
    plan::{Mac, Way},
};

impl State {
    /// True if the tables have to follow.
    pub(in crate::balance) fn set_interface_mac(&mut self, index: u32, mac: Mac) -> bool {
        let ours =
            self.interfaces.iter_mut().find(|interface| interface.index == index && interface.mac != mac);
        let Some(interface) = ours else { return false };
        interface.mac = mac;
        true
    }

    /// An interface of the balancer is another one now. What is known of its neighbours holds until they say otherwise.
    pub(in crate::balance) fn replace_interface(&mut self, old: u32, new: u32, mac: Mac) {
        for interface in self.interfaces.iter_mut().filter(|one| one.index == old) {
            (interface.index, interface.mac) = (new, mac);
        }
        self.hops.values_mut().filter(|hop| hop.interface == old).for_each(|hop| hop.interface = new);
        self.ways.values_mut().filter(|way| way.interface == old).for_each(|way| way.interface = new);
        let renumbered = |index| if index == old { new } else { index };
        let macs = std::mem::take(&mut self.macs).into_iter();
        self.macs = macs.map(|((index, ip), mac)| ((renumbered(index), ip), mac)).collect();
    }

    /// Every neighbour on an interface that has to be resolved, and stay so.
    pub(in crate::balance) fn wanted(&self, interface: u32) -> BTreeSet<IpAddr> {
        let there = self.hops.values().filter(|hop| hop.interface == interface);
        there.map(|hop| hop.neighbour).collect()
    }

    /// Who a neighbour is, for people; none where nobody is reached by it.
    pub(in crate::balance) fn who(&self, interface: u32, neighbour: IpAddr) -> Option<String> {
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
    pub(in crate::balance) fn knows(&self, interface: u32, neighbour: IpAddr) -> bool {
        self.mac(interface, neighbour).is_some()
    }

    /// What it last resolved to, and the ways by it follow.
    pub(in crate::balance) fn mac(&self, interface: u32, neighbour: IpAddr) -> Option<Mac> {
        self.macs.get(&(interface, neighbour)).copied()
    }

    /// True if a way changed by this, so that the tables have to follow.
    pub(in crate::balance) fn learn(&mut self, interface: u32, neighbour: IpAddr, mac: Mac) -> bool {
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
    pub(in crate::balance) fn reroute(&mut self, hops: Hops) -> bool {
        let moved = |(key, hop): &(_, _)| self.hops.get(key) != Some(hop);
        let moved: Vec<_> = hops.into_iter().filter(moved).collect();
        let keys: Vec<_> = moved.iter().map(|(key, _)| key.clone()).collect();
        self.hops.extend(moved);
        self.forget_what_is_not_wanted();
        keys.into_iter().filter(|key| self.follow(key)).count() > 0
    }

    /// Brings a way to what its hop and MAC say, if that is known. True if it changed.
    pub(super) fn follow(&mut self, key: &(InstanceName, IpAddr)) -> bool {
        let Some(hop) = self.hops.get(key) else { return false };
        let Some(&mac) = self.macs.get(&(hop.interface, hop.neighbour)) else { return false };
        let way = Way { interface: hop.interface, mac, mtu: hop.mtu, source: hop.source };
        self.ways.insert(key.clone(), way) != Some(way)
    }

    /// Instances of the file that wait for a MAC: for that of each address with `nat`, where a packet goes to the one of
    /// its own family, else for any.
    pub(in crate::balance) fn unresolved(&self) -> BTreeSet<InstanceName> {
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

    /// By DIP, the next step of packets to an instance.
    pub(in crate::balance) fn hops_of(&self, name: &InstanceName) -> impl Iterator<Item = (IpAddr, &Hop)> {
        let first = (name.clone(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let of = self.hops.range(first..).take_while(move |((one, _), _)| one == name);
        of.map(|((_, dip), hop)| (*dip, hop))
    }

    /// How packets leave for an instance's address, once its next hop was resolved.
    pub(in crate::balance) fn way(&self, name: &InstanceName, dip: IpAddr) -> Option<&Way> {
        self.ways.get(&(name.clone(), dip))
    }

    pub(super) fn forget_what_is_not_wanted(&mut self) {
        let wanted: BTreeSet<_> = self.hops.values().map(|hop| (hop.interface, hop.neighbour)).collect();
        self.macs.retain(|neighbour, _| wanted.contains(neighbour));
        self.ways.retain(|key, _| self.hops.contains_key(key));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Instant};

    use super::{super::testing::*, *};

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
