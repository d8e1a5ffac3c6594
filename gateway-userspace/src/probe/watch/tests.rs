use std::time::Duration;

use super::*;
use crate::{
    model::AllDown,
    probe::{Failure, policy::STEPS},
    testing::model,
};

/// Instances, their file, and a clock.
struct World {
    watch: Watch,
    model: Model,
    admin: BTreeMap<InstanceName, AdminState>,
    now: Instant,
}

fn name(text: &str) -> InstanceName {
    InstanceName(text.into())
}

impl World {
    fn new(names: &[&str]) -> Self {
        let mut world =
            Self { watch: Watch::default(), model: model(&[]), admin: BTreeMap::new(), now: Instant::now() };
        world.model.probe.slow_start = Duration::from_secs(70);
        world.change(names);
        world
    }

    fn change(&mut self, names: &[&str]) {
        self.model.instances = model(names).instances;
        self.admin = names.iter().map(|text| (name(text), AdminState::Auto)).collect();
        self.watch.follow(&self.model, &self.admin, self.now);
    }

    /// So many probes with that result; what was said.
    fn probe(&mut self, of: &str, outcome: &Result<(), Failure>, times: u32) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..times {
            self.now += Duration::from_secs(2);
            let report = Report {
                instance: name(of),
                address: "10.0.0.12:8080".parse().unwrap(),
                outcome: outcome.clone(),
                took: Duration::ZERO,
                at: self.now,
                asked: Vec::new(),
            };
            said.extend(self.watch.take_up(&report, &self.model.probe).map(|change| change.to_string()));
            self.decide();
        }
        said
    }

    fn decide(&mut self) -> bool {
        self.watch.decide(&self.model, &self.admin, self.now)
    }

    fn shares(&self) -> Vec<u16> {
        self.watch.decision().shares.values().copied().collect()
    }
}

const REFUSED: Result<(), Failure> = Err(Failure::Refused);

#[test]
fn r81_changes_are_said_once_as_a_person_wants_them() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    assert_eq!(
        world.probe("gw-2", &REFUSED, 9),
        ["gw-2 is down: 3 probes in a row failed: connection refused (10.0.0.12:8080)"]
    );
    assert_eq!(
        world.probe("gw-2", &Err(Failure::Silent(Duration::from_secs(1))), 9),
        ["gw-2 is gone: nothing answers at 10.0.0.12"]
    );
    assert_eq!(world.probe("gw-2", &REFUSED, 1), ["gw-2: something answers at 10.0.0.12 again"]);
    assert_eq!(world.probe("gw-2", &Ok(()), 9), ["gw-2 is up: 2 probes in a row succeeded (10.0.0.12:8080)"]);
    assert_eq!(
        world.probe("gw-2", &REFUSED, 3),
        [
            "gw-2 is down: 3 probes in a row failed: connection refused (10.0.0.12:8080); it goes up and down, so it takes 4 \
          good ones now to be up again"
        ]
    );
    assert_eq!(world.probe("gw-9", &REFUSED, 9), Vec::<String>::new(), "a stranger");
}

#[test]
fn what_could_not_be_tried_says_nothing_of_the_instance() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    assert_eq!(
        world.probe("gw-2", &Err(Failure::Own("too many open files".into())), 9),
        Vec::<String>::new()
    );
    let watched = world.watch.instance(&name("gw-2")).unwrap();
    assert_eq!(watched.health.verdict(), Verdict::Unknown);
    assert_eq!(watched.history.last_error.as_ref().unwrap().1, "could not be tried: too many open files");
}

#[test]
fn a_returning_instance_starts_slowly_and_nobody_does_at_the_start() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    assert_eq!(world.shares(), [100, 100]);
    world.probe("gw-1", &Ok(()), 2);
    world.probe("gw-2", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 100], "the first verdict is no return");
    world.probe("gw-2", &REFUSED, 3);
    assert_eq!(world.shares(), [100, 0]);
    world.probe("gw-2", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 12]);
    assert_eq!(world.watch.decision().starting[&name("gw-2")], 1);
    world.now += Duration::from_secs(69);
    assert!(world.decide());
    assert_eq!(world.watch.decision().starting[&name("gw-2")], STEPS - 1);
    world.now += Duration::from_secs(1);
    assert!(world.decide() && !world.decide());
    assert_eq!(world.shares(), [100, 100]);
}

#[test]
fn an_added_instance_waits_for_its_first_verdict_and_starts_slowly() {
    let mut world = World::new(&["gw-1"]);
    world.change(&["gw-1", "gw-2"]);
    assert_eq!(world.shares(), [100, 0]);
    world.probe("gw-2", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 12]);
    world.change(&["gw-2"]);
    assert_eq!(world.shares().len(), 1);
}

#[test]
fn r83_who_is_drained_and_comes_back_starts_slowly() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    world.admin.insert(name("gw-1"), AdminState::Down);
    assert!(world.decide());
    assert_eq!(world.shares(), [0, 100]);
    world.admin.insert(name("gw-1"), AdminState::Auto);
    assert!(world.decide());
    assert_eq!(world.shares(), [12, 100]);
}

#[test]
fn where_nobody_served_nobody_starts_slowly() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    for one in ["gw-1", "gw-2"] {
        world.probe(one, &REFUSED, 3);
    }
    assert_eq!((world.shares(), world.watch.decision().belief), (vec![0, 0], Belief::Refused));
    world.probe("gw-1", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 0]);
    world.probe("gw-2", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 12]);
}

#[test]
fn who_was_not_believed_to_be_down_does_not_return() {
    let mut world = World::new(&["gw-1", "gw-2"]);
    world.model.probe.all_down = AllDown::AllUp;
    for one in ["gw-1", "gw-2"] {
        world.probe(one, &REFUSED, 3);
    }
    assert_eq!(world.shares(), [100, 100]);
    world.probe("gw-1", &Ok(()), 2);
    assert_eq!(world.shares(), [100, 0]);
}

#[test]
fn r12_the_next_process_goes_on_from_where_the_last_one_was() {
    let mut world = World::new(&["gw-1", "gw-2", "gw-3"]);
    for outcome in [&REFUSED, &Ok(()), &REFUSED, &Ok(())] {
        world.probe("gw-2", outcome, 4);
    }
    world.probe("gw-3", &Err(Failure::Silent(Duration::from_secs(1))), 3);
    world.now += Duration::from_secs(20);
    world.decide();
    assert_eq!(world.shares(), [100, 37, 0]);
    let began = world.now - Duration::from_secs(1_000);
    let number = |moment: Instant| u64::try_from(moment.duration_since(began).as_nanos()).ok();
    let saved = world.watch.saved(&world.model.probe, number);
    let text = serde_json::to_string(&saved).unwrap();

    let mut next = World::new(&["gw-1", "gw-2", "gw-3", "gw-4"]);
    next.now = world.now;
    let served = world.admin.keys().cloned().collect();
    let saved = serde_json::from_str(&text).unwrap();
    next.watch
        .restore(&saved, &served, &next.model.probe, |number| Some(began + Duration::from_nanos(number)));
    assert!(next.decide());
    assert_eq!(next.shares(), [100, 37, 0, 0], "gw-4 was added meanwhile");
    assert_eq!(next.watch.decision().gone, world.watch.decision().gone);
    assert_eq!(next.watch.saved(&next.model.probe, number)[&name("gw-2")], saved[&name("gw-2")]);
    assert_eq!(
        next.probe("gw-3", &Ok(()), 2),
        [
            "gw-3: something answers at 10.0.0.12 again",
            "gw-3 is up: 2 probes in a row succeeded (10.0.0.12:8080)"
        ]
    );
}
