//! What the next process goes on from.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use super::State;
use crate::{
    balance::{
        saved::{Clock, Reached, Saved},
        ways::Hop,
    },
    model::InstanceName,
};

impl State {
    /// What the next process has to know to go on from here, but for the configuration.
    pub(in crate::balance) fn saved(&self, clock: Clock) -> Saved {
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
            leases: self.leases.saved(|moment| clock.number(moment)),
            macs: self.macs.iter().map(|(&(interface, ip), &mac)| (interface, ip, mac)).collect(),
            ..Saved::default()
        }
    }

    /// Goes on from where the last process was. `names` had numbers there; who does not serve any more is drained from `now` on,
    /// unless that has begun.
    pub(in crate::balance) fn restore<'n>(
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
        self.leases.restore(&saved.leases, |number| clock.moment(number));
        self.macs.extend(saved.macs.iter().map(|&(interface, ip, mac)| ((interface, ip), mac)));
        self.forget_what_is_not_wanted();
        let keys: Vec<_> = self.hops.keys().cloned().collect();
        for key in keys {
            self.follow(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{super::testing::*, *};
    use crate::model::AdminState;

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
}
