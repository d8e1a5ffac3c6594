//! Who serves, and the drains of those that do not any more.

use std::time::Instant;

use super::State;
use crate::model::{AdminState, InstanceName};

impl State {
    pub(super) fn drain_what_is_not_served(
        &mut self,
        before: impl IntoIterator<Item = InstanceName>,
        now: Instant,
    ) {
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

    pub(super) fn serves(&self, name: &InstanceName) -> bool {
        self.admin_state(name).is_some_and(|state| state != AdminState::Down)
    }

    /// Who is drained, and until when; none if the clock cannot tell it.
    pub(in crate::balance) fn drains(&self) -> impl Iterator<Item = (&InstanceName, Option<Instant>)> {
        self.draining.iter().map(|(name, end)| (name, *end))
    }

    /// When the next drain is over.
    pub(in crate::balance) fn next_drain_end(&self) -> Option<Instant> {
        self.draining.values().flatten().min().copied()
    }

    /// Ends the drains that are over and says whose.
    pub(in crate::balance) fn end_drains(&mut self, now: Instant) -> Vec<InstanceName> {
        let over = |end: &Option<Instant>| end.is_some_and(|end| end <= now);
        let ended: Vec<_> =
            self.draining.iter().filter(|(_, end)| over(end)).map(|(name, _)| name.clone()).collect();
        self.end_drains_of(&ended);
        ended
    }

    /// Ends drains: these have no flow any more, or may have none.
    pub(in crate::balance) fn end_drains_of(&mut self, names: &[InstanceName]) {
        for name in names {
            self.draining.remove(name);
            if self.model.instance(&name.0).is_none() {
                self.hops.retain(|(one, _), _| one != name);
            }
        }
        self.forget_what_is_not_wanted();
        self.ended.extend(names.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::{super::testing::*, *};

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
    fn a_drain_is_not_prolonged_by_reading_the_file_again() {
        let now = Instant::now();
        let mut state = state(&["gw-1", "gw-2"], now);
        take_up(&mut state, model(&["gw-2"]), now);
        let end = state.next_drain_end();
        take_up(&mut state, model(&["gw-2"]), now + Duration::from_secs(60));
        assert_eq!(state.next_drain_end(), end);
    }
}
