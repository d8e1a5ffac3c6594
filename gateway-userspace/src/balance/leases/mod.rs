//! SNAT ports: whose they are, who is told, and what instances say of them. `Leases` is pure: time is an argument.

mod alarm;
mod askers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub(super) use self::{
    alarm::{Alarms, News},
    askers::{Answer, Askers, Wish},
};
use crate::{
    model::{InstanceName, Model},
    plan::PortBlock,
    snat::{Ledger, Order, Report, Rules, SavedLedger, Share},
};

/// After an answer, for those that come with it: each apply waits for the packets that are on their way.
const TOGETHER: Duration = Duration::from_millis(20);

/// What the balancer knows of all public VIPs' ports.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    vips: BTreeMap<IpAddr, Ledger>,
    reports: BTreeMap<InstanceName, (Instant, Report)>,
    /// This host's own of `balancer.address`.
    own: Vec<IpAddr>,
    /// When what was heard is to be followed.
    due: Option<Instant>,
}

/// What the next process goes on from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SavedLeases(BTreeMap<IpAddr, SavedLedger>);

/// The table: by VIP and block, whose it is.
pub(super) type Table = BTreeMap<IpAddr, BTreeMap<PortBlock, InstanceName>>;

impl Leases {
    /// This host has these of the file's `balancer.address`.
    pub(super) fn know(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// This host's address of that family, by which instances know it.
    pub(super) fn own(&self, family: IpAddr) -> Option<IpAddr> {
        self.own.iter().copied().find(|own| own.is_ipv4() == family.is_ipv4())
    }

    /// For [`Self::restore`].
    pub(super) fn saved(&self, number: impl Fn(Instant) -> Option<u64>) -> SavedLeases {
        SavedLeases(self.vips.iter().map(|(&vip, ledger)| (vip, ledger.saved(&number))).collect())
    }

    /// Goes on from there.
    pub(super) fn restore(&mut self, saved: &SavedLeases, moment: impl Fn(u64) -> Option<Instant>) {
        let ledgers = saved.0.iter().map(|(&vip, saved)| (vip, Ledger::restore(saved, &moment)));
        self.vips = ledgers.collect();
    }

    /// An instance's answer to what it was `sent`.
    pub(super) fn heard(&mut self, name: &InstanceName, sent: &Order, report: Report, now: Instant) {
        for (vip, ledger) in &mut self.vips {
            let sent = sent.vips.get(vip).cloned().unwrap_or_default();
            ledger.heard(name, &sent, &report.vips.get(vip).cloned().unwrap_or_default(), now);
        }
        self.reports.insert(name.clone(), (now, report));
        self.due.get_or_insert(now + TOGETHER);
    }

    /// When [`Self::step`] is to be called next.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Gives and takes back what is due by the file. `known` are the instances that the tables can name.
    pub(super) fn step(&mut self, model: &Model, known: &BTreeSet<InstanceName>, now: Instant) {
        self.due = None;
        self.reports.retain(|name, _| known.contains(name));
        let Some(snat) = &model.snat else { return self.vips.clear() };
        self.vips.retain(|vip, _| model.vip.public.contains(vip));
        for &vip in &model.vip.public {
            // Without a share there is nothing to give, and what is there stays.
            let Some(share) = Share::of(&model.balancer.address, &self.own, vip) else { continue };
            let rules = Rules {
                share,
                preallocated: usize::from(snat.ports_per_instance) / 8,
                // Who has no address of the VIP's family has no flows that could leave by it.
                instances: model
                    .instances
                    .iter()
                    .filter(|one| one.dip.iter().any(|dip| dip.is_ipv4() == vip.is_ipv4()))
                    .map(|one| one.name.clone())
                    .collect(),
                known: known.clone(),
            };
            self.vips.entry(vip).or_insert_with(|| Ledger::new(share, now)).step(&rules, now);
        }
    }

    /// Whose answers go where.
    pub(super) fn table(&self) -> Table {
        let of = |ledger: &Ledger| {
            let blocks = ledger.table().flat_map(|(name, blocks)| {
                blocks.iter().map(|block| (PortBlock(block.index()), name.clone())).collect::<Vec<_>>()
            });
            blocks.collect()
        };
        self.vips.iter().map(|(&vip, ledger)| (vip, of(ledger))).collect()
    }

    /// What an instance is told once the table is written.
    pub(super) fn order(&self, name: &InstanceName) -> Order {
        Order::new(self.vips.iter().map(|(&vip, ledger)| (vip, ledger.order(name))).collect())
    }

    /// What it said last, and when.
    pub(super) fn report(&self, name: &InstanceName) -> Option<&(Instant, Report)> {
        self.reports.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Snat,
        snat::{Block, Blocks, VipReport},
        testing::model,
    };

    fn snat() -> Model {
        let mut model = model(&["gw-1", "gw-2"]);
        model.snat = Some(Snat { ports_per_instance: 64, return_after: Duration::from_secs(300) });
        model
    }

    fn names(model: &Model) -> BTreeSet<InstanceName> {
        model.instances.iter().map(|one| one.name.clone()).collect()
    }

    /// All instances hold nothing.
    fn begun(model: &Model, now: Instant) -> Leases {
        let mut leases = Leases::default();
        leases.step(model, &names(model), now);
        for name in names(model) {
            leases.heard(&name, &Order::default(), Report::new(&name.0), now);
        }
        leases.step(model, &names(model), now);
        leases
    }

    #[test]
    fn r34_each_instance_has_its_ports_of_each_public_vip() {
        let (mut model, now) = (snat(), Instant::now());
        model.vip.public.push("203.0.113.6".parse().unwrap());
        model.vip.public.push("2001:db8::5".parse().unwrap());
        let leases = begun(&model, now);
        let table = leases.table();
        for vip in &model.vip.public[..2] {
            let of = |name: &str| table[vip].values().filter(|owner| owner.0 == name).count();
            assert_eq!((of("gw-1"), of("gw-2")), (8, 8));
            assert_eq!(leases.order(&model.instances[0].name).vips[vip].leased.len(), 8);
        }
        assert!(table[&model.vip.public[2]].is_empty(), "nobody has an IPv6 address to translate");
    }

    #[test]
    fn r34_switched_off_nothing_is_leased_and_who_is_no_balancer_gives_nothing() {
        let (mut model, now) = (snat(), Instant::now());
        let mut leases = begun(&model, now);
        model.snat = None;
        leases.step(&model, &names(&model), now);
        assert!(leases.table().is_empty());
        let mut other = snat();
        other.balancer.address = vec!["10.0.0.3".parse().unwrap()];
        assert!(begun(&other, now).table().is_empty());
    }

    #[test]
    fn r12_the_next_process_goes_on_with_the_same_leases() {
        let (model, now) = (snat(), Instant::now());
        let before = begun(&model, now);
        let saved = serde_json::to_string(&before.saved(|_| Some(0))).unwrap();
        let mut after = Leases::default();
        after.restore(&serde_json::from_str(&saved).unwrap(), |_| Some(now));
        after.step(&model, &names(&model), now);
        assert_eq!(after.table(), before.table());
    }

    #[test]
    fn r34_a_report_is_followed_a_moment_later_with_others() {
        let (model, now) = (snat(), Instant::now());
        let mut leases = begun(&model, now);
        assert_eq!(leases.due(), None);
        let vip = model.vip.public[0];
        let held: Blocks = [Block::of(60_000)].into_iter().collect();
        let report = VipReport { held, ..VipReport::default() };
        let report = Report { vips: [(vip, report)].into(), ..Report::new("gw-1") };
        leases.heard(&model.instances[0].name, &Order::default(), report, now);
        assert_eq!(leases.due(), Some(now + TOGETHER));
        leases.step(&model, &names(&model), now + TOGETHER);
        assert_eq!(leases.table()[&vip][&PortBlock(7500)].0, "gw-1", "what it says it holds is its");
        assert_eq!(leases.due(), None);
    }
}
