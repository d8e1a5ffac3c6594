//! The owner task: it alone holds the state, and everything else reaches it as an event.

use std::{collections::BTreeSet, net::IpAddr, ops::ControlFlow, sync::Arc, time::Instant};

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
};
use crate::{
    config,
    dataplane::Dataplane,
    model::InstanceName,
    net::{
        self, Netlink,
        changes::{Changes, Role},
        claim::claim,
        events::{self, Events},
        link::Link,
        mac_text,
        neighbour::Neighbour,
    },
    plan::{self, Plan},
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
    link: Link,
    local: Option<InstanceName>,
    neighbours: &'a mut Neighbours,
    /// Instances' addresses that stopped answering; each is logged once.
    silent: BTreeSet<IpAddr>,
    tick: Interval,
    state: State,
    plan: Plan,
    vips: Vips,
    /// The tables are behind the state, because the last apply failed.
    behind: bool,
    // These two in this order, in which they are dropped: a VIP is gone from the interface before the program that
    // guards it (R20).
    changes: Changes,
    dataplane: Dataplane,
}

/// Runs until SIGINT or SIGTERM, or until the interface is gone.
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
        let (link, interface) =
            preflight::interface(&netlink, model.balancer.interfaces.sides()[0].1).await?;
        let local = match &args.local {
            Some(name) => Some(preflight::local(&netlink, &model, name).await?),
            None => None,
        };
        let on_link = preflight::on_link(&netlink, &model, &link, local.as_ref()).await?;
        dataplane = load().await?;
        dataplane.log_events()?;

        let mut state = State::new(&model, interface, local.clone(), on_link, Instant::now());
        let mut events = Events::subscribe()?;
        for entry in neighbours.ask(&netlink, link.index, state.wanted()).await? {
            neighbours::learn(&mut state, &entry);
        }
        neighbours::wait_for_answers(&mut state, &mut events, &link).await?;

        let plan = plan::plan(&state.desired(), None)?;
        dataplane.apply(&plan)?;
        let mode = dataplane.attach(&link.name)?;
        let vips: Vec<_> = model.vip.all().collect();
        claim(&mut changes, &netlink, &link, &vips).await?;
        log::info!("balancing {} on {} ({mode:?} XDP)", status::list(&vips), link.name);
        let links = netlink.links().await?;
        let others = preflight::other_ways_in(&links, &link);
        if !others.is_empty() {
            log::warn!(
                "{} can let packets for a VIP in, past the program on {}, to what listens on this host; drop them there, \
                 for example with nftables (docs/operations.md, \"Other interfaces\")",
                status::list(&others),
                link.name
            );
        }

        let mut tick = interval(neighbours::EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (silent, vips, behind) = (BTreeSet::new(), Vips::default(), false);
        Ok(Self {
            args,
            netlink,
            events,
            link,
            local,
            neighbours,
            silent,
            tick,
            state,
            plan,
            vips,
            behind,
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
            Event::Network(events::Event::Link(link)) if link.index == self.link.index => {
                if self.link_changed(link) {
                    self.settle(true).await;
                }
            }
            Event::Network(events::Event::LinkGone(index)) if index == self.link.index => {
                return Err(self.link_gone());
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
        let on_link = preflight::on_link(&self.netlink, &new, &self.link, self.local.as_ref()).await?;
        let vips = VipChanges::between(&running, &new);
        let before = self.state.clone();
        let now = Instant::now();

        // Tables first, then addresses come; addresses go, then tables: a VIP's packets never reach the host's stack.
        self.state.take_up(Arc::new(reload::with_both_vips(&running, &new)), on_link.clone(), now);
        if let Err(error) = self.change_vips(&vips).await {
            for vip in &vips.added {
                if let Err(error) = self.changes.remove_address(&self.netlink, *vip).await {
                    log::error!("{error:#}");
                }
            }
            self.state = before;
            self.apply_or_retry();
            // A VIP that was given up already comes back.
            self.settle(false).await;
            return Err(error);
        }
        // From here on the file is taken up: tables that know the VIPs of both files serve either.
        self.state.take_up(Arc::new(new), on_link, now);
        self.apply_or_retry();
        self.ask_neighbours().await;
        Ok(())
    }

    async fn change_vips(&mut self, vips: &VipChanges) -> anyhow::Result<()> {
        self.apply()?;
        claim(&mut self.changes, &self.netlink, &self.link, &vips.added).await?;
        for vip in &vips.removed {
            self.changes.remove_address(&self.netlink, *vip).await?;
        }
        Ok(())
    }

    fn heard_of(&mut self, entry: &Neighbour) {
        if entry.link != self.link.index {
            return;
        }
        let Some(name) = self.state.instance_of(entry.ip).cloned() else { return };
        match entry.mac {
            Some(mac) => {
                if self.silent.remove(&entry.ip) {
                    log::info!("{name} ({}) answers again", entry.ip);
                }
                if self.state.learn(entry.ip, mac) {
                    log::info!("{name} ({}) is at {}", entry.ip, mac_text(mac));
                    self.apply_or_retry();
                }
            }
            None if self.state.knows(entry.ip) && self.silent.insert(entry.ip) => {
                log::warn!("{name} ({}) does not answer on {} any more", entry.ip, self.link.name);
            }
            None => {}
        }
    }

    /// True if everybody on the link has to be told where the VIPs are.
    fn link_changed(&mut self, link: Link) -> bool {
        // Not when it is set up: the carrier may take seconds, and until then no claim can be decided.
        let came_up = link.carrier && !self.link.carrier;
        if came_up {
            log::warn!("{} is up again", link.name);
        } else if self.link.carrier && !link.carrier {
            let why = if link.up { "has no carrier" } else { "is down" };
            log::warn!("{} {why}: no VIP can be reached through it", link.name);
        }
        let moved = link.mac.is_some_and(|mac| self.state.set_interface_mac(mac));
        if moved {
            log::info!("{} has the address {} now", link.name, link.mac.map(mac_text).unwrap_or_default());
            self.apply_or_retry();
        }
        self.link = link;
        came_up || moved
    }

    fn link_gone(&self) -> anyhow::Error {
        anyhow::anyhow!("the interface {} is gone; start again once it is back", self.link.name)
    }

    /// Reads what events may have missed, and does again what failed or what somebody has taken away.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        let changed = match self.netlink.link_at(self.link.index).await {
            Ok(Some(link)) => self.link_changed(link),
            Ok(None) => return Err(self.link_gone()),
            Err(error) => {
                log::warn!("{error:#}");
                false
            }
        };
        self.settle(changed).await;
        Ok(())
    }

    /// Brings addresses, neighbours and tables to what they should be. With `announce` everybody on the link is told
    /// where the VIPs are.
    async fn settle(&mut self, announce: bool) {
        if self.link.carrier {
            let wanted = self.state.model().vip.all().collect();
            self.vips.keep(&mut self.changes, &self.netlink, &self.link, &wanted, announce).await;
        }
        self.ask_neighbours().await;
        if self.behind {
            self.apply_or_retry();
        }
    }

    /// Has the instances' MACs resolved or confirmed.
    async fn ask_neighbours(&mut self) {
        match self.neighbours.ask(&self.netlink, self.link.index, self.state.wanted()).await {
            Ok(table) => table.iter().for_each(|entry| self.heard_of(entry)),
            Err(error) if self.link.up => log::warn!("{error:#}"),
            Err(_) => {}
        }
    }

    fn apply(&mut self) -> anyhow::Result<()> {
        let plan = plan::plan(&self.state.desired(), Some(&self.plan))?;
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
