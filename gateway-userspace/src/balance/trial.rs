//! The time after a changed file was taken up, in which it is taken back if no instance is healthy any more. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    api::Who,
    model::{AdminState, InstanceName, Model},
    probe::health,
};

/// A new state that is watched.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// When it has stood the test.
    pub(super) until: Instant,
    /// When it is looked at next.
    pub(super) look: Instant,
    /// What was before.
    pub(super) before: Arc<Model>,
    /// Admin states that were set at run time before.
    pub(super) overrides: BTreeMap<InstanceName, AdminState>,
    /// Who asked for it.
    pub(super) who: Who,
}

/// How the instances are, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// One at least is healthy.
    Healthy,
    /// None is, and of one at least it is not known yet.
    Unknown,
    /// None is.
    Lost,
}

/// What becomes of a new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Kept,
    /// What was before comes back.
    TakenBack,
}

impl Trial {
    /// None while it goes on.
    pub(super) fn verdict(&self, fate: Fate, now: Instant) -> Option<Verdict> {
        match fate {
            Fate::Lost => Some(Verdict::TakenBack),
            _ if now < self.until => None,
            Fate::Healthy => Some(Verdict::Kept),
            // A whole window was not enough for one good answer.
            Fate::Unknown => Some(Verdict::TakenBack),
        }
    }
}

/// An instance of the file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// What holds.
    pub(super) admin_state: AdminState,
    /// A next hop to it is known.
    pub(super) is_reached: bool,
    /// What its probes say; none where it is not probed.
    pub(super) health: Option<health::Verdict>,
}

/// How they are.
pub(super) fn fate(instances: impl Iterator<Item = Seen> + Clone) -> Fate {
    let mut wanted = instances.filter(|one| one.admin_state != AdminState::Down);
    if wanted.clone().any(Seen::is_healthy) {
        Fate::Healthy
    } else if wanted.any(Seen::is_unknown) {
        Fate::Unknown
    } else {
        Fate::Lost
    }
}

impl Seen {
    fn is_healthy(self) -> bool {
        let is_well = self.health.is_none_or(|verdict| verdict == health::Verdict::Up);
        self.is_reached && (is_well || self.admin_state == AdminState::Up)
    }

    fn is_unknown(self) -> bool {
        self.health.map_or(!self.is_reached, |verdict| verdict == health::Verdict::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        health::Verdict::{Down, Unknown, Up},
        *,
    };
    use crate::testing::model;

    fn fate_of(each: &[(AdminState, bool, Option<health::Verdict>)]) -> Fate {
        fate(each.iter().map(|&(admin_state, is_reached, health)| Seen { admin_state, is_reached, health }))
    }

    #[test]
    fn one_healthy_instance_is_enough_and_none_that_may_be_is_not_lost_yet() {
        let down = (AdminState::Auto, true, Some(Down));
        assert_eq!(fate_of(&[]), Fate::Lost);
        assert_eq!(fate_of(&[down]), Fate::Lost);
        for (is_reached, health, expected) in [
            (true, Some(Down), Fate::Lost),
            (true, Some(Unknown), Fate::Unknown),
            (false, None, Fate::Unknown),
            (true, None, Fate::Healthy),
            (true, Some(Up), Fate::Healthy),
            (false, Some(Up), Fate::Lost),
        ] {
            let fate = fate_of(&[down, (AdminState::Auto, is_reached, health)]);
            assert_eq!(fate, expected, "{is_reached} {health:?}");
        }
    }

    #[test]
    fn whose_admin_state_is_down_is_no_healthy_instance_and_up_is_one_whatever_its_probe_says() {
        assert_eq!(fate_of(&[(AdminState::Down, true, Some(Up))]), Fate::Lost);
        assert_eq!(fate_of(&[(AdminState::Up, true, Some(Down))]), Fate::Healthy);
    }

    #[test]
    fn a_new_state_is_taken_back_when_all_is_lost_and_kept_when_its_time_is_over() {
        let now = Instant::now();
        let until = now + Duration::from_secs(30);
        let trial = Trial {
            until,
            look: now,
            before: Arc::new(model(&[])),
            overrides: BTreeMap::new(),
            who: Who::Signal,
        };
        assert_eq!(trial.verdict(Fate::Lost, now), Some(Verdict::TakenBack));
        assert_eq!(trial.verdict(Fate::Unknown, now), None);
        assert_eq!(trial.verdict(Fate::Healthy, now), None);
        assert_eq!(trial.verdict(Fate::Healthy, until), Some(Verdict::Kept));
        assert_eq!(trial.verdict(Fate::Unknown, until), Some(Verdict::TakenBack));
    }
}
