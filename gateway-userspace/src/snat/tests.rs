//! Balancers and instances together, through histories of whatever happens to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::model::InstanceName;

const IDLE: Duration = Duration::from_secs(60);
const PREALLOCATED: usize = 16;
const INSTANCES: usize = 3;

#[derive(Debug, Clone)]
enum Event {
    /// Balancer asks instance.
    Ask(usize, usize),
    /// All ask all.
    Round,
    /// An instance begins flows on some of what it may use.
    Begin(usize, u16),
    /// All but a few of its flows end.
    End(usize, u16),
    /// A balancer is killed, and started again so many seconds later.
    Kill(usize, u64),
    /// An instance's process is replaced.
    Replace(usize),
    Remove(usize),
    Add(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Event> {
    let (balancer, instance) = (0..2usize, 0..INSTANCES);
    prop_oneof![
        4 => (balancer.clone(), instance.clone()).prop_map(|(one, other)| Event::Ask(one, other)),
        4 => Just(Event::Round),
        3 => (instance.clone(), 1..2000u16).prop_map(|(one, count)| Event::Begin(one, count)),
        2 => (instance.clone(), 0..10u16).prop_map(|(one, rest)| Event::End(one, rest)),
        1 => (balancer, 0..20u64).prop_map(|(one, pause)| Event::Kill(one, pause)),
        1 => instance.clone().prop_map(Event::Replace),
        1 => instance.clone().prop_map(Event::Remove),
        1 => instance.prop_map(Event::Add),
        3 => (1..90u64).prop_map(Event::Pass),
    ]
}

fn name(instance: usize) -> InstanceName {
    InstanceName(format!("gw-{}", instance + 1))
}

fn address(balancer: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 2 + balancer as u8).into()
}

/// A balancer: its ledger, and the kernel's table, which outlives it.
struct Balancer {
    ledger: Ledger,
    table: BTreeMap<InstanceName, Blocks>,
    /// When it is there again, if it is not.
    back: Option<Instant>,
    /// Whom it has asked since, and when.
    asked: BTreeMap<usize, Instant>,
}

/// An instance: what the kernel knows is `usable` and `flows`.
struct Instance {
    holding: Holding,
    flows: Blocks,
}

struct World {
    now: Instant,
    balancers: Vec<Balancer>,
    instances: Vec<Instance>,
    written: BTreeSet<InstanceName>,
    is_alone: bool,
}

impl World {
    fn new(balancers: usize) -> Self {
        let now = Instant::now();
        let share = |place| share(balancers, place);
        Self {
            now,
            balancers: (0..balancers)
                .map(|place| Balancer {
                    ledger: Ledger::new(share(place), now),
                    table: BTreeMap::new(),
                    back: None,
                    asked: BTreeMap::new(),
                })
                .collect(),
            instances: (0..INSTANCES)
                .map(|_| Instance {
                    holding: Holding::go_on(balancers, Blocks::default(), &Blocks::default(), now),
                    flows: Blocks::default(),
                })
                .collect(),
            written: (0..INSTANCES).map(name).collect(),
            is_alone: balancers == 1,
        }
    }

    fn rules(&self, place: usize) -> Rules {
        Rules {
            share: share(self.balancers.len(), place),
            preallocated: PREALLOCATED,
            instances: self.written.clone(),
            known: (0..INSTANCES).map(name).collect(),
        }
    }

    fn ask(&mut self, place: usize, instance: usize) {
        let rules = self.rules(place);
        let (balancer, one) = (&mut self.balancers[place], &mut self.instances[instance]);
        if balancer.back.is_some() {
            return;
        }
        balancer.asked.insert(instance, self.now);
        let order = balancer.ledger.order(&name(instance));
        one.holding.told(address(place), order.clone(), self.now);
        let count = one.flows.len() as u32;
        let seen = Use { blocks: one.flows.clone(), ports: count, busiest: 8 * count, failed: 0 };
        one.holding.used(seen, self.now);
        let report = one.holding.report(address(place), IDLE, self.now);
        balancer.ledger.heard(&name(instance), &order, &report, self.now);
        balancer.ledger.step(&rules, self.now);
        balancer.table = balancer.ledger.table().map(|(name, blocks)| (name.clone(), blocks)).collect();
    }

    fn round(&mut self) {
        for place in 0..self.balancers.len() {
            (0..INSTANCES).for_each(|instance| self.ask(place, instance));
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Ask(place, instance) => self.ask(place % self.balancers.len(), instance),
            Event::Round => self.round(),
            Event::Begin(instance, count) => {
                let one = &mut self.instances[instance];
                let begun: Blocks = one.holding.usable().iter().take(count.into()).collect();
                one.flows = one.flows.or(&begun);
            }
            Event::End(instance, rest) => {
                let one = &mut self.instances[instance];
                one.flows = one.flows.iter().rev().take(rest.into()).collect();
            }
            Event::Kill(place, pause) => {
                let place = place % self.balancers.len();
                let (now, balancer) = (self.now, &mut self.balancers[place]);
                let number = |moment: Instant| Some(moment.saturating_duration_since(now).as_secs());
                let saved = serde_json::to_string(&balancer.ledger.saved(number)).unwrap();
                let moment = |number| Some(now + Duration::from_secs(number));
                balancer.ledger = Ledger::restore(&serde_json::from_str(&saved).unwrap(), moment);
                balancer.back = Some(now + Duration::from_secs(pause));
                balancer.asked.clear();
            }
            Event::Replace(instance) => {
                let balancers = self.balancers.len();
                let one = &mut self.instances[instance];
                let usable = one.holding.usable().clone();
                one.holding = Holding::go_on(balancers, usable, &one.flows, self.now);
            }
            Event::Remove(instance) => {
                if self.written.len() > 1 {
                    self.written.remove(&name(instance));
                }
            }
            Event::Add(instance) => drop(self.written.insert(name(instance))),
            Event::Pass(seconds) => self.now += Duration::from_secs(seconds),
        }
        for balancer in &mut self.balancers {
            balancer.back = balancer.back.filter(|back| *back > self.now);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let taken = |one: &Instance| one.holding.usable().or(&one.flows);
        for (at, one) in self.instances.iter().enumerate() {
            for other in &self.instances[at + 1..] {
                prop_assert!(taken(one).and(&taken(other)).is_empty(), "a block is two instances'");
            }
            // One that has not been heard of for long is not waited for.
            let is_lately = |asked: &Instant| self.now.duration_since(*asked) <= Duration::from_secs(5);
            let lives = |one: &&Balancer| self.is_alone || one.asked.get(&at).is_some_and(is_lately);
            for balancer in self.balancers.iter().filter(lives) {
                let table = balancer.table.get(&name(at)).cloned().unwrap_or_default();
                let astray = taken(one).without(&table);
                prop_assert!(astray.is_empty(), "answers to {} do not come back: {astray:?}", name(at));
            }
        }
        Ok(())
    }
}

fn share(balancers: usize, place: usize) -> Share {
    let all: Vec<_> = (0..balancers).map(address).collect();
    Share::of(&all, &[address(place)], "203.0.113.5".parse().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn r34_a_block_is_one_instances_and_in_the_table_before_it_is_used(
        balancers in 1..=2usize,
        events in prop::collection::vec(events(), 1..80),
    ) {
        let mut world = World::new(balancers);
        for event in events {
            world.happen(&event);
            world.check()?;
        }
        // Whatever happened, all end with what they are to have.
        world.written = (0..INSTANCES).map(name).collect();
        for one in &mut world.instances {
            one.flows = Blocks::default();
        }
        for _ in 0..16 {
            world.happen(&Event::Pass(20));
            world.round();
            world.check()?;
        }
        for one in &world.instances {
            prop_assert_eq!(one.holding.usable().len(), PREALLOCATED);
        }
    }

    #[test]
    fn r34_however_hungry_others_are_an_instance_can_grow(hunger in prop::collection::vec(0..2usize, 1..30)) {
        let mut world = World::new(1);
        world.round();
        world.round();
        for instance in hunger {
            world.happen(&Event::Begin(instance, u16::MAX));
            world.round();
            world.round();
        }
        for _ in 0..4 {
            world.happen(&Event::Begin(2, u16::MAX));
            world.round();
            world.round();
        }
        let has: Vec<_> = world.instances.iter().map(|one| one.holding.usable().len()).collect();
        prop_assert!(has.iter().all(|&one| one >= PREALLOCATED), "preallocated ones are never taken: {has:?}");
        prop_assert!(has[2] >= 8 * PREALLOCATED, "{has:?}");
        prop_assert!(has.iter().sum::<usize>() < pool().len(), "something is left for the next one");
    }
}

#[test]
fn r34_what_is_idle_goes_back_and_rests_before_another_has_it() {
    let mut world = World::new(1);
    world.round();
    world.happen(&Event::Begin(0, u16::MAX));
    for _ in 0..10 {
        world.round();
        world.happen(&Event::Begin(0, u16::MAX));
    }
    let grown = world.instances[0].holding.usable().clone();
    assert!(grown.len() > 8 * PREALLOCATED, "{}", grown.len());
    world.happen(&Event::End(0, 0));
    world.round();
    world.happen(&Event::Pass(61));
    for _ in 0..3 {
        world.round();
    }
    let kept = world.instances[0].holding.usable().clone();
    assert_eq!(kept.len(), PREALLOCATED);
    let back = grown.without(&kept);
    for _ in 0..8 {
        world.happen(&Event::Begin(1, u16::MAX));
        world.round();
    }
    assert!(world.instances[1].holding.usable().and(&back).is_empty(), "they rest");
    world.happen(&Event::Pass(241));
    for _ in 0..4 {
        world.happen(&Event::Begin(1, u16::MAX));
        world.round();
    }
    assert!(!world.instances[1].holding.usable().and(&back).is_empty());
}

#[test]
fn r34_a_removed_instances_blocks_are_nobodys_until_it_is_gone_and_they_rested() {
    let mut world = World::new(1);
    world.round();
    world.round();
    let held = world.instances[2].holding.usable().clone();
    world.happen(&Event::Begin(2, u16::MAX));
    world.happen(&Event::Remove(2));
    world.round();
    assert_eq!(world.balancers[0].table[&name(2)], held, "its flows go on");
    assert!(world.instances[2].holding.usable().is_empty(), "and no others begin");
    let rules = Rules { known: world.written.clone(), ..world.rules(0) };
    world.balancers[0].ledger.step(&rules, world.now);
    let ledger = &world.balancers[0].ledger;
    assert!(ledger.table().all(|(_, blocks)| blocks.and(&held).is_empty()));
    let later = |seconds| {
        let mut ledger = ledger.clone();
        let hungry = VipReport { wanted: 9000, ..VipReport::default() };
        let now = world.now + Duration::from_secs(seconds);
        ledger.heard(&name(0), &VipOrder::default(), &hungry, now);
        ledger.step(&Rules { instances: [name(0)].into(), known: [name(0)].into(), ..rules.clone() }, now);
        ledger.order(&name(0)).leased
    };
    assert!(later(100).and(&held).is_empty() && !later(100).is_empty());
    assert_eq!(later(241).and(&held), held);
}

#[test]
fn r74_without_what_was_saved_a_balancer_learns_from_instances_what_they_hold() {
    let mut world = World::new(1);
    world.round();
    world.round();
    let before = world.balancers[0].table.clone();
    world.balancers[0].ledger = Ledger::new(share(1, 0), world.now);
    world.ask(0, 0);
    assert_eq!(world.balancers[0].table[&name(0)], before[&name(0)]);
    assert!(!world.balancers[0].table.contains_key(&name(1)), "nothing is given before all were heard");
    world.round();
    assert_eq!(world.balancers[0].table, before);
}

#[test]
fn r74_another_number_of_balancers_moves_no_block() {
    let mut world = World::new(1);
    world.round();
    world.round();
    let before = world.balancers[0].table.clone();
    let now = world.now;
    let new = |place| Balancer {
        ledger: Ledger::new(share(2, place), now),
        table: BTreeMap::new(),
        back: None,
        asked: BTreeMap::new(),
    };
    world.balancers.push(new(1));
    for _ in 0..3 {
        world.round();
        world.check().unwrap();
    }
    for balancer in &world.balancers {
        for (name, blocks) in &before {
            assert!(blocks.without(&balancer.table[name]).is_empty());
        }
    }
}
