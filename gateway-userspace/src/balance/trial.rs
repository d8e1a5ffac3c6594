//! The time after a changed file was taken up, in which it is taken back if no instance is healthy any more. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    api::Who,
    model::{AdminState, InstanceName, Model},
    status::{HealthWord, Instance},
};

/// A new state that is watched.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// When it has stood the test.
    pub(super) until: Instant,
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

/// How they are.
pub(super) fn fate(instances: &[Instance]) -> Fate {
    let wanted =
        || instances.iter().filter(|one| one.admin_state.is_some_and(|state| state != AdminState::Down));
    if wanted().any(is_healthy) {
        Fate::Healthy
    } else if wanted().any(is_unknown) {
        Fate::Unknown
    } else {
        Fate::Lost
    }
}

fn is_healthy(one: &Instance) -> bool {
    is_reached(one)
        && match &one.health {
            _ if one.admin_state == Some(AdminState::Up) => true,
            None => true,
            Some(health) => health.state == HealthWord::Up,
        }
}

fn is_unknown(one: &Instance) -> bool {
    match &one.health {
        None => !is_reached(one),
        Some(health) => health.state == HealthWord::Unknown,
    }
}

fn is_reached(one: &Instance) -> bool {
    one.dips.iter().any(|dip| dip.resolved)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{status::testing::serving, testing::model};

    /// Each with that health and whether it is reached.
    fn instances(each: &[(Option<HealthWord>, bool)]) -> Vec<Instance> {
        let one = serving().instances[0].clone();
        let with = |&(word, resolved): &(Option<HealthWord>, bool)| {
            let mut one = one.clone();
            one.health = word.map(|state| crate::status::Health { state, ..one.health.clone().unwrap() });
            one.dips.iter_mut().for_each(|dip| dip.resolved = resolved);
            one
        };
        each.iter().map(with).collect()
    }

    #[test]
    fn one_healthy_instance_is_enough_and_none_that_may_be_is_not_lost_yet() {
        let down = (Some(HealthWord::Down), true);
        for (others, expected) in [
            (&[][..], Fate::Lost),
            (&[down, (Some(HealthWord::Gone), true)], Fate::Lost),
            (&[down, (Some(HealthWord::Unknown), true)], Fate::Unknown),
            (&[down, (None, false)], Fate::Unknown),
            (&[down, (None, true)], Fate::Healthy),
            (&[down, (Some(HealthWord::Up), true)], Fate::Healthy),
            (&[(Some(HealthWord::Up), false), down], Fate::Lost),
        ] {
            assert_eq!(fate(&instances(others)), expected, "{others:?}");
        }
    }

    #[test]
    fn whose_admin_state_is_down_is_no_healthy_instance_and_up_is_one_whatever_its_probe_says() {
        let mut all = instances(&[(Some(HealthWord::Up), true), (Some(HealthWord::Down), true)]);
        all[0].admin_state = Some(AdminState::Down);
        assert_eq!(fate(&all), Fate::Lost);
        all[1].admin_state = Some(AdminState::Up);
        assert_eq!(fate(&all), Fate::Healthy);
        all[1].admin_state = None;
        assert_eq!(fate(&all), Fate::Lost, "it is not in the file any more");
    }

    #[test]
    fn a_new_state_is_taken_back_when_all_is_lost_and_kept_when_its_time_is_over() {
        let now = Instant::now();
        let until = now + Duration::from_secs(30);
        let trial =
            Trial { until, before: Arc::new(model(&[])), overrides: BTreeMap::new(), who: Who::Signal };
        assert_eq!(trial.verdict(Fate::Lost, now), Some(Verdict::TakenBack));
        assert_eq!(trial.verdict(Fate::Unknown, now), None);
        assert_eq!(trial.verdict(Fate::Healthy, now), None);
        assert_eq!(trial.verdict(Fate::Healthy, until), Some(Verdict::Kept));
        assert_eq!(trial.verdict(Fate::Unknown, until), Some(Verdict::TakenBack));
    }
}
