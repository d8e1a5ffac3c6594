//! The instance's own flows to the outside: by which ports of the public VIPs they leave (R31), as balancers lease them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    dataplane::{
        self,
        snat::{Snat, Usage},
    },
    model::{InstanceName, Model},
    net::link::Link,
    plan::{
        self, PortBlock,
        translation::{Lease, Protocol},
    },
    snat::{Asked, Block, Blocks, Holding, Order, Report, Top, Use, VipReport},
};

/// What the kernel said of its flows is good for that long: several balancers ask within it.
const GOOD_FOR: Duration = Duration::from_millis(200);
/// Destinations that are told of.
const TOP: usize = 10;
/// Of those without a port, the ones of the last while.
const LATELY: Duration = Duration::from_secs(60);

/// Source NAT on this host.
pub(super) struct Outbound {
    snat: Snat,
    model: Arc<Model>,
    name: InstanceName,
    links: Vec<Link>,
    /// By public VIP.
    holdings: BTreeMap<IpAddr, Holding>,
    phase: Phase,
    seen: Option<(Instant, Usage)>,
    failed: u64,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
}

/// Whose the programs and their tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A predecessor's, or nobody's.
    Before,
    /// This process's.
    AtWork,
    /// A successor's.
    After,
}

impl Outbound {
    /// Nothing is changed yet.
    pub(super) fn open(snat: Snat, model: Arc<Model>, name: InstanceName, links: Vec<Link>) -> Self {
        Self {
            snat,
            model,
            name,
            links,
            holdings: BTreeMap::new(),
            phase: Phase::Before,
            seen: None,
            failed: 0,
            trouble: None,
        }
    }

    /// Attaches. From then on a flow to the outside leaves by a public VIP, or not at all.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let leases = self.snat.leases();
        for &vip in &self.model.vip.public {
            let lease = leases.get(&vip).cloned().unwrap_or_default();
            let holding =
                Holding::go_on(self.balancers(vip), blocks(&lease.active), &blocks(&lease.draining), now);
            self.holdings.insert(vip, holding);
        }
        self.apply()?;
        for link in &self.links {
            self.snat.attach(&link.name)?;
            log::info!("flows to the outside leave {} by {}", link.name, list(&self.model.vip.public));
        }
        self.snat.settle()?;
        self.phase = Phase::AtWork;
        Ok(())
    }

    /// Whether a predecessor's programs are at work.
    pub(super) fn has_predecessor(&self) -> bool {
        self.snat.has_predecessor()
    }

    /// Whether this process's programs are at work, or were.
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Before
    }

    /// A balancer's order, and its answer. None where the tables are not this process's or could not be written.
    pub(super) fn serve(&mut self, asked: Asked) {
        let Asked { from, order, answer } = asked;
        if self.phase != Phase::AtWork {
            return;
        }
        let outcome = self.follow(from, order);
        let report = self.note(outcome);
        if let Some(report) = report {
            // Whoever asked may be gone.
            let _ = answer.send(report);
        }
    }

    /// What of the flows is over goes, also where no balancer asks. What cannot be done is tried again the next time.
    pub(super) fn keep(&mut self) {
        let outcome = match self.phase {
            Phase::Before => self.begin(),
            Phase::AtWork => self.look(Instant::now()).map(drop),
            Phase::After => return,
        };
        self.note(outcome);
    }

    /// Goes over to the file as it is now (R32).
    pub(super) fn take_up(&mut self, model: Arc<Model>) {
        let own = |model: &Model, name: &InstanceName| model.instance(&name.0).map(|one| one.dip.clone());
        if own(&model, &self.name) != own(&self.model, &self.name) {
            log::warn!("this instance's addresses changed: restart the proxy");
            return;
        }
        self.model = model;
        let (now, public) = (Instant::now(), self.model.vip.public.clone());
        self.holdings.retain(|vip, _| public.contains(vip));
        for vip in public {
            let balancers = self.balancers(vip);
            let none = Blocks::default();
            let holding = self.holdings.entry(vip);
            holding
                .or_insert_with(|| Holding::go_on(balancers, none.clone(), &none, now))
                .has_balancers(balancers);
        }
        if self.phase == Phase::AtWork {
            let outcome = self.apply();
            self.note(outcome);
        }
    }

    /// Detaches, or leaves the programs to the next process.
    pub(super) fn close(self, detaches: bool) -> anyhow::Result<()> {
        match self.phase {
            Phase::AtWork if detaches => Ok(self.snat.detach()?),
            Phase::AtWork => {
                log::info!(
                    "flows to the outside go on leaving by the public VIPs; `gateway detach` ends that"
                );
                Ok(())
            }
            Phase::Before | Phase::After => Ok(()),
        }
    }

    fn follow(&mut self, from: IpAddr, order: Order) -> anyhow::Result<Report> {
        let now = Instant::now();
        for (vip, order) in order.vips {
            if let Some(holding) = self.holdings.get_mut(&vip) {
                holding.told(from, order, now);
            }
        }
        // First no flow begins there any more, and then it is asked what flows there are.
        self.apply()?;
        let usage = self.look(now)?;
        self.report(from, &usage, now)
    }

    fn look(&mut self, now: Instant) -> anyhow::Result<Usage> {
        let usage = match &self.seen {
            Some((at, usage)) if now.saturating_duration_since(*at) < GOOD_FOR => usage.clone(),
            _ => self.snat.sweep()?,
        };
        let failed = self.snat.counts()?.failed();
        let grown = failed.saturating_sub(std::mem::replace(&mut self.failed, failed));
        for (vip, holding) in &mut self.holdings {
            holding.used(used(&usage, *vip, grown), now);
        }
        self.seen = Some((now, usage.clone()));
        Ok(usage)
    }

    fn report(&mut self, from: IpAddr, usage: &Usage, now: Instant) -> anyhow::Result<Report> {
        let idle_after = self.model.snat.map_or(Duration::MAX, |snat| snat.return_after);
        let vips: BTreeMap<IpAddr, VipReport> = self
            .holdings
            .iter_mut()
            .map(|(vip, holding)| (*vip, holding.report(from, idle_after, now)))
            .collect();
        let counts = self.snat.counts()?;
        let failed = counts.failures().map(|(reason, count)| (reason.name().to_owned(), count)).collect();
        Ok(Report { vips, failed, top: self.top(usage)?, ..Report::new(&self.name.0) })
    }

    /// Those without a port first, then those with the most flows.
    fn top(&self, usage: &Usage) -> anyhow::Result<Vec<Top>> {
        let mut flows: BTreeMap<(Protocol, std::net::SocketAddr), (u32, u64)> = BTreeMap::new();
        for (&(_, protocol, to), &count) in &usage.destinations {
            flows.entry((protocol, to)).or_default().0 += count;
        }
        for one in self.snat.exhausted()?.into_iter().filter(|one| one.ago < LATELY) {
            flows.entry((one.protocol, one.destination)).or_default().1 += u64::from(one.drops);
        }
        let mut top: Vec<_> = flows.into_iter().collect();
        top.sort_by_key(|&(_, (flows, failed))| std::cmp::Reverse((failed > 0, flows)));
        let top = top.into_iter().take(TOP).map(|((protocol, to), (flows, failed))| Top {
            address: to.ip(),
            protocol: protocol.name().to_owned(),
            port: to.port(),
            flows,
            failed,
        });
        Ok(top.collect())
    }

    fn apply(&mut self) -> anyhow::Result<()> {
        let Some(instance) = self.model.instance(&self.name.0) else { return Ok(()) };
        let leases = self.holdings.iter().map(|(vip, holding)| {
            let (active, draining) = (set(holding.usable()), set(holding.leaving()));
            (*vip, Lease { active, draining })
        });
        let wanted = plan::outbound(&self.model, instance, leases.collect());
        self.seen = None;
        Ok(self.snat.apply(&wanted)?)
    }

    /// How many balancers there are that lease ports of a VIP.
    fn balancers(&self, vip: IpAddr) -> usize {
        let of = |v4: bool| self.model.balancer.address.iter().filter(|one| one.is_ipv4() == v4).count();
        match of(vip.is_ipv4()) {
            0 => of(!vip.is_ipv4()).max(1),
            count => count,
        }
    }

    fn note<T>(&mut self, outcome: anyhow::Result<T>) -> Option<T> {
        if let Err(error) = &outcome
            && matches!(error.downcast_ref(), Some(dataplane::Error::TakenOver))
        {
            self.phase = Phase::After;
            return None;
        }
        let trouble = outcome.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            log::warn!("the tables of source NAT are behind, which is tried again soon: {error}");
        }
        self.trouble = trouble;
        outcome.ok()
    }
}

fn used(usage: &Usage, vip: IpAddr, failed: u64) -> Use {
    let blocks = usage.blocks.get(&vip).into_iter().flatten();
    Use {
        blocks: blocks
            .filter(|(_, one)| one.ports > 0)
            .filter_map(|(block, _)| Block::at(block.0.into()))
            .collect(),
        ports: usage.ports(vip),
        busiest: usage.busiest(vip),
        failed,
    }
}

fn blocks(set: &BTreeSet<PortBlock>) -> Blocks {
    set.iter().filter_map(|block| Block::at(block.0.into())).collect()
}

fn set(blocks: &Blocks) -> BTreeSet<PortBlock> {
    blocks.iter().map(|block| PortBlock(block.index())).collect()
}

fn list<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}
