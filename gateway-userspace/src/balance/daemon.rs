//! The owner task: it alone holds the state, and everything else reaches it as an event.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    ops::ControlFlow,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    Args,
    neighbours::{self, Neighbours},
    preflight,
    reload::{self, VipChanges},
    report::report,
    signals::{Request, Signals},
    state::State,
    status,
    vips::Vips,
    ways,
};
use crate::{
    config,
    dataplane::Dataplane,
    model::{Forwarding, InstanceName, Model, Side},
    net::{
        self, Netlink,
        changes::{Changes, Role},
        claim::claim,
        events::{self, Events},
        link::Link,
        mac_text,
        neighbour::Neighbour,
        router::{self, Family},
    },
    plan::{self, Desired, Interface, Plan},
};

/// What wakes the owner task.
#[derive(Debug)]
enum Event {
    Request(Request),
    Network(events::Event),
    /// Time to confirm the neighbours, and to do again what failed.
    Tick,
    DrainOver,
}

/// A balancer at work.
struct Daemon<'a> {
    args: &'a Args,
    netlink: Netlink,
    events: Events,
    /// The interfaces, the inner one first.
    ports: Vec<Port>,
    local: Option<InstanceName>,
    neighbours: &'a mut Neighbours,
    /// Neighbours that stopped answering; each is logged once.
    silent: BTreeSet<(u32, IpAddr)>,
    /// Why the ways to some instances are not what they should be; each reason is logged once.
    astray: String,
    tick: Interval,
    state: State,
    plan: Plan,
    /// The tables are behind the state, because the last apply failed.
    behind: bool,
    // These two in this order, in which they are dropped: a VIP is gone from the interface before the program that
    // guards it (R20).
    changes: Changes,
    dataplane: Dataplane,
}

/// An interface of the balancer.
#[derive(Debug)]
struct Port {
    link: Link,
    side: Side,
    vips: Vips,
}

/// Runs until SIGINT or SIGTERM, or until an interface is gone.
pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let netlink = Netlink::open()?;
    let mut neighbours = Neighbours::default();
    let outcome = run_with(args, &mut neighbours).await;
    neighbours.forget(&netlink).await;
    outcome
}

/// Leaves nothing behind but the `neighbours` it asked for.
async fn run_with(args: &Args, neighbours: &mut Neighbours) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut daemon = tokio::select! {
        started = Daemon::start(args, neighbours) => started?,
        signal = signals.stop() => {
            log::info!("{signal} during the start; all is undone");
            return Ok(());
        }
    };
    status::ready();
    let served = daemon.serve(&mut signals).await;
    status::stopping();
    let stopped = daemon.stop().await;
    served.and(stopped)
}

impl<'a> Daemon<'a> {
    /// The program is attached before the VIPs are claimed: from the first packet that comes for a VIP, everything
    /// but the configured services is dropped (R20).
    async fn start(args: &'a Args, neighbours: &'a mut Neighbours) -> anyhow::Result<Self> {
        let model = Arc::new(config::load(&args.config)?);
        let netlink = Netlink::open()?;
        // Declared before the changes, so that an early return drops it after them: see the fields of `Daemon`.
        let mut dataplane;
        let mut changes = Changes::begin(&netlink, Role::Balance).await?;
        let mut links = Vec::new();
        let mut interfaces = Vec::new();
        for (side, name) in model.balancer.interfaces.sides() {
            let (link, mac) = preflight::interface(&netlink, name).await?;
            interfaces.push(Interface { index: link.index, mac, side });
            links.push(link);
        }
        let local = match &args.local {
            Some(name) => Some(preflight::local(&netlink, &model, name).await?),
            None => None,
        };
        let hops = preflight::hops(&netlink, &model, &links, local.as_ref()).await?;
        dataplane = load().await?;
        dataplane.log_events()?;

        let sides: Vec<_> = interfaces.iter().map(|interface| interface.side).collect();
        let mut state = State::new(&model, interfaces, local.clone(), hops, Instant::now());
        let mut events = Events::subscribe()?;
        for link in &links {
            for entry in neighbours.ask(&netlink, link.index, state.wanted(link.index)).await? {
                neighbours::learn(&mut state, &entry);
            }
        }
        neighbours::wait_for_answers(&mut state, &mut events).await?;

        let plan = plan::plan(&stamped(state.desired()), None)?;
        dataplane.apply(&plan)?;
        let all = netlink.links().await?;
        route_replies(&mut changes, &model, &links, &all)?;
        // All of them before the first VIP: it must not be reached past the program by another interface of ours.
        let mut modes = Vec::new();
        for link in &links {
            modes.push(dataplane.attach(&link.name)?);
        }
        for ((link, side), mode) in links.iter().zip(&sides).zip(modes) {
            let vips = model.vip.on(*side);
            claim(&mut changes, &netlink, link, &vips).await?;
            log::info!("balancing {} on {} ({mode:?} XDP)", status::list(&vips), link.name);
        }
        let others = preflight::other_ways_in(&all, &links);
        if !others.is_empty() {
            log::warn!(
                "{} can let packets for a VIP in, past the program on {}, to what listens on this host; drop them there, \
                 for example with nftables (docs/operations.md, \"Other interfaces\")",
                status::list(&others),
                status::list(links.iter().map(|link| &link.name))
            );
        }

        let mut tick = interval(neighbours::EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ports = links.into_iter().zip(sides);
        let ports = ports.map(|(link, side)| Port { link, side, vips: Vips::default() }).collect();
        Ok(Self {
            args,
            netlink,
            events,
            ports,
            local,
            neighbours,
            silent: BTreeSet::new(),
            astray: String::new(),
            tick,
            state,
            plan,
            behind: false,
            changes,
            dataplane,
        })
    }

    async fn serve(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        loop {
            let event = self.next_event(signals).await?;
            if self.handle(event).await?.is_break() {
                return Ok(());
            }
        }
    }

    async fn next_event(&mut self, signals: &mut Signals) -> anyhow::Result<Event> {
        let drain_end = self.state.next_drain_end();
        let drain_over = async {
            match drain_end {
                Some(end) => sleep_until(end.into()).await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            request = signals.next() => Event::Request(request),
            event = self.events.next() => Event::Network(event.ok_or(net::Error::EventsEnded)?),
            _ = self.tick.tick() => Event::Tick,
            () = drain_over => Event::DrainOver,
        })
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<ControlFlow<()>> {
        match event {
            Event::Request(Request::Stop(signal)) => {
                log::info!("{signal}: stopping");
                return Ok(ControlFlow::Break(()));
            }
            Event::Request(Request::Report) => report(&self.dataplane, self.args.counters.as_deref()),
            Event::Request(Request::Reload) => {
                status::reloading();
                let outcome = self.reload().await;
                status::reloaded(&self.args.config, outcome);
            }
            Event::Network(events::Event::Neighbour(entry)) => self.heard_of(&entry),
            Event::Network(events::Event::Link(link)) => {
                if let Some(at) = self.port(link.index)
                    && self.link_changed(at, link)
                {
                    self.settle(&[at]).await;
                }
            }
            Event::Network(events::Event::LinkGone(index)) => {
                if let Some(at) = self.port(index) {
                    return Err(self.link_gone(at));
                }
            }
            Event::Network(events::Event::Lost) | Event::Tick => self.catch_up().await?,
            Event::Network(_) => {}
            Event::DrainOver => {
                for name in self.state.end_drains(Instant::now()) {
                    log::info!("{name}: the drain is over; what is left of its flows is ended");
                }
                self.apply_or_retry();
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes over to the file as it is now; on an error everything is as before.
    async fn reload(&mut self) -> anyhow::Result<()> {
        let running = Arc::clone(self.state.model());
        let new = config::load(&self.args.config)?;
        reload::check(&running, &new)?;
        if let Some(local) = self.local.as_ref().filter(|name| new.instance(&name.0).is_none()) {
            anyhow::bail!(
                "{local} runs on this host and is no longer in the file; stop `gateway run` to remove it"
            );
        }
        let links: Vec<_> = self.ports.iter().map(|port| port.link.clone()).collect();
        let hops = preflight::hops(&self.netlink, &new, &links, self.local.as_ref()).await?;
        route_replies(&mut self.changes, &new, &links, &self.netlink.links().await?)?;
        let vips = VipChanges::between(&running, &new);
        let before = self.state.clone();
        let now = Instant::now();

        // Tables first, then addresses come; addresses go, then tables: a VIP's packets never reach the host's stack.
        self.state.take_up(Arc::new(reload::with_both_vips(&running, &new)), hops.clone(), now);
        if let Err(error) = self.change_vips(&vips).await {
            for port in &self.ports {
                for vip in of(port.side, &vips.added) {
                    if let Err(error) = self.changes.remove_address(&self.netlink, &port.link, vip).await {
                        log::error!("{error:#}");
                    }
                }
            }
            self.state = before;
            self.apply_or_retry();
            // A VIP that was given up already comes back.
            self.settle(&[]).await;
            return Err(error);
        }
        // From here on the file is taken up: tables that know the VIPs of both files serve either.
        self.state.take_up(Arc::new(new), hops, now);
        self.apply_or_retry();
        self.ask_neighbours().await;
        Ok(())
    }

    async fn change_vips(&mut self, vips: &VipChanges) -> anyhow::Result<()> {
        self.apply()?;
        for port in &self.ports {
            claim(&mut self.changes, &self.netlink, &port.link, &of(port.side, &vips.added)).await?;
        }
        for port in &self.ports {
            for vip in of(port.side, &vips.removed) {
                self.changes.remove_address(&self.netlink, &port.link, vip).await?;
            }
        }
        Ok(())
    }

    fn heard_of(&mut self, entry: &Neighbour) {
        let Some(port) = self.ports.iter().find(|port| port.link.index == entry.link) else { return };
        let (at, ip) = (entry.link, entry.ip);
        let Some(who) = self.state.who(at, ip) else { return };
        match entry.mac {
            Some(mac) => {
                if self.silent.remove(&(at, ip)) {
                    log::info!("{who} ({ip}) answers again");
                }
                if self.state.learn(at, ip, mac) {
                    log::info!("{who} ({ip}) is at {}", mac_text(mac));
                    self.apply_or_retry();
                }
            }
            None if self.state.knows(at, ip) && self.silent.insert((at, ip)) => {
                log::warn!("{who} ({ip}) does not answer on {} any more", port.link.name);
            }
            None => {}
        }
    }

    /// Which of [`Self::ports`] an interface is.
    fn port(&self, index: u32) -> Option<usize> {
        self.ports.iter().position(|port| port.link.index == index)
    }

    /// True if everybody on the link has to be told where the VIPs are.
    fn link_changed(&mut self, at: usize, link: Link) -> bool {
        let before = &self.ports[at].link;
        // Not when it is set up: the carrier may take seconds, and until then no claim can be decided.
        let came_up = link.carrier && !before.carrier;
        if came_up {
            log::warn!("{} is up again", link.name);
        } else if before.carrier && !link.carrier {
            let why = if link.up { "has no carrier" } else { "is down" };
            log::warn!("{} {why}: no VIP can be reached through it", link.name);
        }
        let moved = link.mac.is_some_and(|mac| self.state.set_interface_mac(link.index, mac));
        if moved {
            log::info!("{} has the address {} now", link.name, link.mac.map(mac_text).unwrap_or_default());
            self.apply_or_retry();
        }
        self.ports[at].link = link;
        came_up || moved
    }

    fn link_gone(&self, at: usize) -> anyhow::Error {
        anyhow::anyhow!("the interface {} is gone; start again once it is back", self.ports[at].link.name)
    }

    /// Reads what events may have missed, and does again what failed or what somebody has taken away.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for at in 0..self.ports.len() {
            match self.netlink.link_at(self.ports[at].link.index).await {
                Ok(Some(link)) => {
                    if self.link_changed(at, link) {
                        changed.push(at);
                    }
                }
                Ok(None) => return Err(self.link_gone(at)),
                Err(error) => log::warn!("{error:#}"),
            }
        }
        self.follow_routes().await;
        self.settle(&changed).await;
        Ok(())
    }

    /// Routes have no events of their own here: they are read again and again.
    async fn follow_routes(&mut self) {
        let links: Vec<_> = self.ports.iter().map(|port| port.link.clone()).collect();
        let model = Arc::clone(self.state.model());
        let astray = match ways::find(&self.netlink, &model, &links, self.local.as_ref()).await {
            Ok(found) => {
                if self.state.reroute(found.hops) {
                    log::info!("the routes to the instances have changed");
                    self.apply_or_retry();
                }
                found.unreachable.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Err(error) => format!("{error:#}"),
        };
        if astray != self.astray && !astray.is_empty() {
            log::warn!("{astray}; until then packets go the way they went");
        }
        self.astray = astray;
    }

    /// Brings addresses, neighbours and tables to what they should be. Everybody on the links of `announce` is told where
    /// the VIPs are.
    async fn settle(&mut self, announce: &[usize]) {
        for (at, port) in self.ports.iter_mut().enumerate().filter(|(_, port)| port.link.carrier) {
            let wanted = self.state.model().vip.on(port.side).into_iter().collect();
            let announce = announce.contains(&at);
            port.vips.keep(&mut self.changes, &self.netlink, &port.link, &wanted, announce).await;
        }
        self.ask_neighbours().await;
        if self.behind {
            self.apply_or_retry();
        }
    }

    /// Has the next hops' MACs resolved or confirmed.
    async fn ask_neighbours(&mut self) {
        for at in 0..self.ports.len() {
            let link = &self.ports[at].link;
            match self.neighbours.ask(&self.netlink, link.index, self.state.wanted(link.index)).await {
                Ok(table) => table.iter().for_each(|entry| self.heard_of(entry)),
                Err(error) if link.up => log::warn!("{error:#}"),
                Err(_) => {}
            }
        }
    }

    fn apply(&mut self) -> anyhow::Result<()> {
        let plan = plan::plan(&stamped(self.state.desired()), Some(&self.plan))?;
        let changes = self.dataplane.apply(&plan)?;
        log::debug!("{} buckets and {} other entries written", changes.buckets, changes.entries);
        self.plan = plan;
        self.behind = false;
        Ok(())
    }

    /// For changes that nobody waits for: the tables keep what they have until it works.
    fn apply_or_retry(&mut self) {
        if let Err(error) = self.apply() {
            log::error!("the tables could not be brought up to date, which is tried again soon: {error:#}");
            self.behind = true;
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { args, netlink, changes, dataplane, .. } = self;
        let undone = changes.undo(&netlink).await;
        report(&dataplane, args.counters.as_deref());
        // Detaches, last of all.
        drop(dataplane);
        Ok(undone?)
    }
}

/// Apart from the owner task, which goes on hearing SIGTERM: the verifier may take seconds. And where no signal can come,
/// which would make the kernel give up half-way with EAGAIN.
async fn load() -> anyhow::Result<Dataplane> {
    let loading = tokio::task::spawn_blocking(|| {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let loaded = Dataplane::load();
        before.thread_set_mask()?;
        Ok(loaded?)
    });
    loading.await.context("loading the program was broken off")?
}

/// With `nat` the host is the instances' way back.
fn route_replies(
    changes: &mut Changes,
    model: &Model,
    links: &[Link],
    all: &[Link],
) -> Result<(), net::Error> {
    if model.balancer.forwarding != Forwarding::Nat {
        return Ok(());
    }
    let mut families = Vec::new();
    for (family, is_ipv4) in [(Family::V4, true), (Family::V6, false)] {
        if model.vip.all().any(|vip| vip.is_ipv4() == is_ipv4) {
            families.push(family);
        }
    }
    router::route_replies(changes, links, all, &families)
}

/// With the time.
fn stamped(desired: Desired) -> Desired {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // What the tables have room for; until 2106 nothing is lost.
    Desired { now: u32::try_from(now).unwrap_or(u32::MAX), ..desired }
}

/// The VIPs of one interface.
fn of(side: Side, vips: &[(Side, IpAddr)]) -> Vec<IpAddr> {
    vips.iter().filter(|(on, _)| *on == side).map(|(_, vip)| *vip).collect()
}
