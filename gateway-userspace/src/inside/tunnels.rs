//! The program at work: where it is attached, and what its tables are made from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    dataplane::{self, Decapsulation},
    model::{InstanceName, Model},
    net::{self, Netlink, link::Link, route::Way},
    plan::{self, Interface, OnInstance, Plan, Side},
};

/// How often, and with what pauses, a successor asks how the other instances are reached before it goes on without some.
const QUESTIONS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// The tunnels' end on this host.
pub(super) struct Tunnels {
    netlink: Netlink,
    decapsulation: Decapsulation,
    wish: OnInstance,
    /// The interfaces that the program is on, in the order of the wish.
    links: Vec<Link>,
    plan: Plan,
    phase: Phase,
    /// Neighbour entries that were not there before they were asked for.
    made: BTreeSet<(u32, IpAddr)>,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
}

/// Whose the program and its tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A predecessor's, or nobody's.
    Before,
    /// This process's.
    AtWork,
    /// A successor's.
    After,
}

impl Tunnels {
    /// Finds every interface that has one of the instance's addresses. Nothing is changed yet.
    pub(super) async fn open(
        mut decapsulation: Decapsulation,
        model: Arc<Model>,
        name: InstanceName,
    ) -> anyhow::Result<Self> {
        let netlink = Netlink::open()?;
        decapsulation.log_events()?;
        let links = facing(&netlink, &model, &name).await?;
        let interfaces = links.iter().map(interface).collect::<Result<_, _>>()?;
        let wish = OnInstance { model, name, interfaces, ways: BTreeMap::new() };
        // Tables that a predecessor left hold until it is known how the other instances are reached.
        let running = decapsulation.running().cloned();
        let plan = match running {
            Some(running) => running,
            None => plan::instance(&wish, None)?,
        };
        Ok(Self {
            netlink,
            decapsulation,
            wish,
            links,
            plan,
            phase: Phase::Before,
            made: BTreeSet::new(),
            trouble: None,
        })
    }

    /// Whether a predecessor's program is at work.
    pub(super) fn has_predecessor(&self) -> bool {
        self.decapsulation.running().is_some()
    }

    /// Whether this process's is, or was.
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Before
    }

    /// Attaches. From then on a packet of a tunnel reaches only a VIP.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let known = if self.has_predecessor() { self.plan.hops.len() } else { 0 };
        self.decapsulation.apply(&self.plan)?;
        for link in &self.links {
            let mode = self.decapsulation.attach(&link.name)?;
            log::info!(
                "taking packets of {} out of their tunnels on {} ({mode:?} XDP)",
                list(&self.wish.model.balancer.address),
                link.name
            );
        }
        for _ in 0..QUESTIONS {
            self.wish.ways = self.ways().await?;
            if self.wish.ways.len() >= known {
                break;
            }
            sleep(PAUSE).await;
        }
        let outcome = self.follow_network().await;
        self.note(outcome);
        self.decapsulation.settle()?;
        self.phase = Phase::AtWork;
        Ok(())
    }

    /// Brings the tables to what the network is like now. What cannot be done is tried again the next time.
    pub(super) async fn keep(&mut self) {
        let outcome = match self.phase {
            Phase::Before => self.begin().await,
            Phase::AtWork => self.follow_network().await,
            Phase::After => return,
        };
        self.note(outcome);
    }

    fn note(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = &outcome
            && matches!(error.downcast_ref(), Some(dataplane::Error::TakenOver))
        {
            self.phase = Phase::After;
            return;
        }
        let trouble = outcome.map_err(|error| format!("{error:#}")).err();
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            log::warn!("the tunnels' tables are behind, which is tried again soon: {error}");
        }
        self.trouble = trouble;
    }

    /// Goes over to the file as it is now.
    pub(super) async fn take_up(&mut self, model: Arc<Model>) {
        let own = |model: &Model, name: &InstanceName| model.instance(&name.0).map(|one| one.dip.clone());
        if own(&model, &self.wish.name) != own(&self.wish.model, &self.wish.name) {
            log::warn!("this instance's addresses changed: restart the proxy");
            return;
        }
        self.wish.model = model;
        self.keep().await;
    }

    /// Detaches, or leaves the program to the next process.
    pub(super) async fn close(self, detaches: bool) -> anyhow::Result<()> {
        for (link, ip) in &self.made {
            if let Err(error) = self.netlink.forget(*link, *ip).await {
                log::warn!("{error}");
            }
        }
        if let (Ok(counters), Ok(settled)) = (self.decapsulation.counters(), self.decapsulation.settlements())
        {
            log::info!("out of tunnels:\n{counters}");
            if !settled.is_empty() {
                let settled = settled.iter().map(|(how, count)| format!("{} {count}", how.name()));
                log::info!("of moved buckets: {}", list(settled));
            }
        }
        if self.phase != Phase::AtWork {
            return Ok(());
        }
        if detaches {
            return Ok(self.decapsulation.detach()?);
        }
        log::info!("packets go on coming out of their tunnels; `gateway detach` ends that");
        Ok(())
    }

    async fn follow_network(&mut self) -> anyhow::Result<()> {
        for (known, interface) in self.links.iter().zip(&mut self.wish.interfaces) {
            let Some(link) = self.netlink.link_at(known.index).await? else {
                anyhow::bail!(
                    "the interface that packets came out of tunnels by is gone, and the program with it; restart the proxy"
                );
            };
            if let Some(mac) = link.mac {
                interface.mac = mac;
            }
        }
        self.wish.ways = self.ways().await?;
        let plan = plan::instance(&self.wish, Some(&self.plan))?;
        if plan != self.plan {
            self.decapsulation.apply(&plan)?;
            self.plan = plan;
        }
        Ok(())
    }

    /// How the other instances are reached, as far as the kernel knows their MAC addresses; it is asked for them, and the
    /// answers are there the next time.
    async fn ways(&mut self) -> Result<BTreeMap<(InstanceName, IpAddr), plan::Way>, net::Error> {
        let model = Arc::clone(&self.wish.model);
        let others = model.instances.iter().filter(|one| one.name != self.wish.name);
        let mut ways = BTreeMap::new();
        for (name, dip) in others.flat_map(|one| one.dip.iter().map(|dip| (&one.name, *dip))) {
            let Way::Out(route) = self.netlink.way_to(dip).await? else { continue };
            if !self.links.iter().any(|link| link.index == route.link) {
                continue;
            }
            let next = route.gateway.unwrap_or(dip);
            let table = self.netlink.neighbours(route.link).await?;
            let entry = table.iter().find(|entry| entry.ip == next);
            if entry.is_none() {
                self.made.insert((route.link, next));
            }
            // The operator's word stands, and asking would make it an ordinary entry.
            if entry.is_none_or(|entry| !entry.permanent) {
                self.netlink.resolve(route.link, next).await?;
            }
            // An entry that does not answer at the moment keeps its last way.
            let before = self.wish.ways.get(&(name.clone(), dip)).map(|way| way.mac);
            if let Some(mac) = entry.and_then(|entry| entry.mac).or(before) {
                let way = plan::Way { interface: route.link, mac, mtu: u16::MAX, source: dip };
                ways.insert((name.clone(), dip), way);
            }
        }
        Ok(ways)
    }
}

/// The interfaces with an address of the instance.
pub(super) async fn facing(
    netlink: &Netlink,
    model: &Model,
    name: &InstanceName,
) -> anyhow::Result<Vec<Link>> {
    let dip = model.instance(&name.0).map_or(&[][..], |instance| &instance.dip);
    let addresses = netlink.addresses().await?;
    let has = |link: &Link| addresses.iter().any(|one| one.link == link.index && dip.contains(&one.ip));
    let links: Vec<_> = netlink.links().await?.into_iter().filter(has).collect();
    if links.is_empty() {
        return Err(net::Error::NotThisInstance { dip: list(dip) }.into());
    }
    Ok(links)
}

fn interface(link: &Link) -> Result<Interface, net::Error> {
    let mac = link.mac.ok_or_else(|| net::Error::NoMac { name: link.name.clone() })?;
    Ok(Interface { index: link.index, mac, side: Side::Inside })
}

fn list<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}
