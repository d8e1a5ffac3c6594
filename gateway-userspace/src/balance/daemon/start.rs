//! The start, step by step; a step that fails undoes those before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use nix::sys::signal::{SigSet, SigmaskHow};
use serde::Deserialize as _;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    Daemon, Message, Port, data_path, leases::Lending, probes::Heard, route_replies, routes::Soon,
    saved as what_is_saved, snapshot, stamped, windows::Windows,
};
use crate::{
    api,
    balance::{
        Args,
        neighbours::{self, Neighbours},
        preflight, reload,
        saved::{self, Clock, Saved},
        state::State,
        status,
    },
    config,
    dataplane::{
        Dataplane, XdpMode,
        pins::{Piece, Pins},
    },
    file_watch::{FileWatch, Marks},
    net::{
        Netlink,
        changes::{Changes, Role},
        claim::claim,
        events::Events,
    },
    plan::{self, Interface, Plan},
    probe::{Prober, policy::Belief},
    status::{Program, Time},
    watchdog::Watchdog,
};

impl<'a> Daemon<'a> {
    /// The program is attached before the VIPs are claimed: from the first packet that comes for a VIP, everything
    /// but the configured services is dropped (R20).
    pub(super) async fn start(args: &'a Args, neighbours: &'a mut Neighbours) -> anyhow::Result<Self> {
        // Before it is read: what changes afterwards is told.
        let seen = args.watch.then(|| Marks::of([args.config.clone()]));
        let model = Arc::new(config::load(&args.config)?);
        preflight::has_vips(&model)?;
        let netlink = Arc::new(Netlink::open()?);
        // Declared before the changes, so that an early return drops it after them: see the fields of `Daemon`.
        let mut dataplane;
        let mut changes = Changes::adopt(Role::Balance)?;
        let pins = Pins::open(&model.service.name, Piece::Balancer)?;
        let windows_of = if pins.is_alive() { Windows::go_on } else { Windows::new };
        if pins.is_alive() {
            log::info!("the program of the last `gateway balance` is at work; going on from there");
            changes.lend();
        } else {
            // An address must not be reachable while nothing guards it.
            changes.settle(&netlink).await?;
        }
        let (calls, called) = mpsc::channel(16);
        let socket = api::socket_path(&model.service.name)?;
        let settings = api::Settings::of(&model);
        let api = api::Server::start(&socket, model.balancer.admin, settings, calls)?;
        let mut links = Vec::new();
        let mut interfaces = Vec::new();
        for (side, name) in model.balancer.interfaces.sides() {
            let (link, mac) =
                preflight::interface(&netlink, name, |at, program| pins.is_ours(at, program)).await?;
            interfaces.push(Interface { index: link.index, mac, side });
            links.push(link);
        }
        let local = match &args.local {
            Some(name) => Some(preflight::local(&netlink, &model, name).await?),
            None => None,
        };
        let hops = preflight::hops(&netlink, &model, &links, local.as_ref()).await?;
        data_path::check(&model, &hops, local.as_ref())?;
        dataplane = load(pins, args.object.clone()).await?;
        dataplane.log_events()?;

        let sides: Vec<_> = interfaces.iter().map(|interface| interface.side).collect();
        let clock = Clock::read().context("cannot read the time since boot")?;
        let mut state = State::new(&model, interfaces, local.clone(), hops, Instant::now());
        let before = Before::of(&dataplane)?;
        let generation = before.restore(&mut state, clock);
        let mut events = Events::subscribe()?;
        for link in &links {
            for entry in neighbours.ask(&netlink, link.index, state.wanted(link.index)).await? {
                neighbours::learn(&mut state, &entry);
            }
        }
        neighbours::wait_for_answers(&mut state, &mut events).await?;
        // It was said already.
        let awaited = state.unresolved().into_iter().map(|name| (name, 2)).collect();

        let plan = before.next(&state)?;
        // The old tables still know the VIPs that the file does not name any more.
        let named = |at, ip| {
            let link = links.iter().zip(&sides).find(|(link, _)| link.index == at);
            link.is_some_and(|(_, side)| model.vip.on(*side).contains(&ip))
        };
        changes.give_up_addresses(&netlink, named).await?;
        let written = dataplane.apply_with(&plan, &what_is_saved(&state, generation, clock)?)?;
        log::debug!("{} buckets and {} other entries written", written.buckets, written.entries);
        let all = netlink.links().await?;
        route_replies(&mut changes, &model, &links, &all)?;
        // All of them before the first VIP: it must not be reached past the program by another interface of ours.
        let mut modes: Vec<XdpMode> = Vec::new();
        for link in &links {
            modes.push(dataplane.attach(&link.name)?);
        }
        let connections = data_path::open(&mut dataplane, &model, &links)?;
        for ((link, side), mode) in links.iter().zip(&sides).zip(&modes) {
            let vips = model.vip.on(*side);
            claim(&mut changes, &netlink, link, &vips).await?;
            log::info!("balancing {} on {} ({mode:?} XDP)", status::list(&vips), link.name);
        }
        changes.settle(&netlink).await?;
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
        let (outbox, inbox) = mpsc::channel(64);
        let prober = Prober::start(outbox.clone(), Message::Probe).context("cannot start the probes")?;
        let mut windows = windows_of(&plan, Instant::now());
        windows.direct(&state, &plan, &outbox);
        let ports = links.into_iter().zip(sides).zip(modes);
        let ports = ports.map(|((link, side), mode)| Port::new(link, side, mode)).collect();
        let info = dataplane.program()?.info()?;
        let file_watch = seen.map(|seen| FileWatch::start(seen, || Message::FileChanged, outbox.clone()));
        // Nothing can fail any more: it stays.
        dataplane.settle()?;
        let mut daemon = Self {
            args,
            netlink,
            events,
            inbox,
            outbox,
            _file_watch: file_watch,
            calls: called,
            api,
            trial: None,
            ports,
            local,
            neighbours,
            silent: BTreeMap::new(),
            lost: BTreeSet::new(),
            awaited,
            soon: Soon::default(),
            astray: String::new(),
            tick,
            watchdog: Watchdog::asked(),
            prober,
            heard: Heard::default(),
            measurer: None,
            connections,
            belief: Belief::default(),
            state,
            plan,
            windows,
            lending: Lending::default(),
            since: Time::now(),
            generation,
            last_apply: snapshot::started(),
            program: Program { id: info.id(), tag: format!("{:016x}", info.tag()) },
            behind: false,
            clock,
            detaches: false,
            changes,
            dataplane,
        };
        daemon.follow_probes();
        daemon.know_own_addresses().await?;
        daemon.lend();
        Ok(daemon)
    }
}

/// What the last process left running.
struct Before {
    plan: Option<Plan>,
    saved: Saved,
}

impl Before {
    fn of(dataplane: &Dataplane) -> anyhow::Result<Self> {
        let Some((plan, saved)) = dataplane.running() else {
            return Ok(Self { plan: None, saved: Saved::default() });
        };
        let saved = Saved::deserialize(saved).context("what the last process saved cannot be read")?;
        Ok(Self { plan: Some(plan.clone()), saved })
    }

    /// Flows can go on: packets are sent on and spread as before.
    fn is_founded(&self, state: &State) -> bool {
        self.saved.foundations == reload::foundations(state.model())
    }

    /// And tells the number of the configuration.
    fn restore(&self, state: &mut State, clock: Clock) -> u64 {
        let Some(plan) = &self.plan else { return 1 };
        let (salt, now) = (plan.config.note_salt, Instant::now());
        if self.is_founded(state) {
            state.restore(&self.saved, plan.numbers.keys(), salt, clock, now);
        } else {
            log::warn!("how packets are sent on or spread has changed: the flows of before are not kept");
            let overrides = Saved { overrides: self.saved.overrides.clone(), ..Saved::default() };
            state.restore(&overrides, [], salt, clock, now);
        }
        let is_other = saved::digest(state.model()) != self.saved.configuration;
        self.saved.generation + u64::from(is_other)
    }

    fn next(&self, state: &State) -> Result<Plan, plan::Error> {
        let desired = stamped(state.desired());
        let running = self.plan.as_ref();
        if running.is_none() || self.is_founded(state) {
            return plan::plan(&desired, running);
        }
        let mut plan = plan::plan(&desired, None)?;
        // No note of before says who has a number now.
        plan.forget = running.into_iter().flat_map(|running| running.numbers.values().copied()).collect();
        Ok(plan)
    }
}

/// Apart from the owner task, which goes on hearing SIGTERM: the verifier may take seconds. And where no signal can come,
/// which would make the kernel give up half-way with EAGAIN.
async fn load(pins: Pins, object: Option<PathBuf>) -> anyhow::Result<Dataplane> {
    let loading = tokio::task::spawn_blocking(move || {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let loaded = Dataplane::open(pins, object.as_deref());
        before.thread_set_mask()?;
        Ok(loaded?)
    });
    loading.await.context("loading the program was broken off")?
}
