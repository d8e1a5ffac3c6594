//! The owner task: it alone holds the state, and everything else reaches it as an event.

mod absent;
mod apply;
mod calls;
mod console;
mod data_path;
mod follow;
mod leases;
mod probes;
mod routes;
mod snapshot;
mod start;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::ControlFlow,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tokio::{
    sync::mpsc,
    time::{Interval, sleep_until},
};

use self::{
    absent::Presence,
    leases::Lending,
    probes::Heard,
    routes::{Read, Soon},
    windows::Windows,
};
use super::{
    Args,
    evidence::Answer,
    leases as lending,
    neighbours::Neighbours,
    report::report,
    saved::{self, Clock, Saved},
    signals::{self, Request, Signals},
    state::State,
    status,
    trial::Trial,
    vips::Vips,
};
use crate::{
    api::{self, Call, Who},
    dataplane::{Connections, Dataplane, XdpMode},
    file_watch::FileWatch,
    model::{Forwarding, InstanceName, Model, Side},
    net::{
        self, Netlink,
        changes::Changes as HostChanges,
        events::{self, Events},
        link::Link,
        router::{self, Family},
    },
    plan::{self, Changes, Desired, Plan},
    probe::{Prober, Report, policy::Belief},
    status::{Apply, Program, Time},
    watchdog::{self, Watchdog},
};

/// What wakes the owner task.
#[derive(Debug)]
enum Event {
    Request(Request),
    Network(events::Event),
    /// Time to confirm the neighbours, and to do again what failed.
    Tick,
    DrainOver,
    /// Probes changed their mind, or a slow start has come to its next step.
    DecisionDue,
    /// Something is due about what happened on this host's network.
    Soon,
    /// Time to judge what instances said of their flows.
    Judge,
    /// SNAT ports are to be given or taken back.
    LendingDue,
    /// From a task that watches something.
    Inbox(Message),
    /// From the API.
    Call(Call),
    /// To look at a new state that is watched.
    TrialDue,
    /// The service manager wants to hear that this task runs.
    WatchdogDue,
}

/// What other tasks tell the owner task.
#[derive(Debug)]
enum Message {
    /// A probe is over.
    Probe(Report),
    /// The file is another one than before (`--watch`).
    FileChanged,
    /// An instance's living flows.
    Flows(Answer),
    /// What an instance says of its SNAT ports.
    Ports(lending::Answer),
    /// The routes to the instances.
    Ways(Box<Read>),
    /// A connection through the VIP that no health depends on is over.
    Path(Report),
}

/// A balancer at work.
struct Daemon<'a> {
    args: &'a Args,
    netlink: Arc<Netlink>,
    events: Events,
    inbox: mpsc::Receiver<Message>,
    /// For tasks that watch something.
    outbox: mpsc::Sender<Message>,
    /// Of `--watch`.
    _file_watch: Option<FileWatch>,
    calls: mpsc::Receiver<Call>,
    /// Ends before anything is undone: nobody asks for a change then.
    api: api::Server,
    /// A new state that may be taken back.
    trial: Option<Trial>,
    /// The interfaces, the inner one first.
    ports: Vec<Port>,
    local: Option<InstanceName>,
    neighbours: &'a mut Neighbours,
    /// Neighbours that do not answer, and since when.
    silent: BTreeMap<(u32, IpAddr), Instant>,
    /// Addresses of instances to which no route leads.
    lost: BTreeSet<(InstanceName, IpAddr)>,
    /// Instances that were never resolved, and for how many ticks.
    awaited: BTreeMap<InstanceName, u32>,
    soon: Soon,
    /// Why the ways to some instances are not what they should be; each reason is logged once.
    astray: String,
    tick: Interval,
    watchdog: Watchdog,
    prober: Prober,
    heard: Heard,
    /// Makes connections through the VIP where the probes go another way.
    measurer: Option<Prober>,
    /// For connections through the VIP.
    connections: Option<Connections>,
    /// What was last logged of it.
    belief: Belief,
    state: State,
    plan: Plan,
    windows: Windows,
    lending: Lending,
    since: Time,
    /// Of the configuration in force.
    generation: u64,
    last_apply: Apply,
    program: Program,
    /// The tables are behind the state, because the last apply failed.
    behind: bool,
    clock: Clock,
    /// At the end nothing is to be left.
    detaches: bool,
    // These two in this order, in which they are dropped: a VIP is gone from the interface before the program that
    // guards it (R20).
    changes: HostChanges,
    dataplane: Dataplane,
}

/// An interface of the balancer.
#[derive(Debug)]
struct Port {
    link: Link,
    side: Side,
    mode: XdpMode,
    vips: Vips,
    presence: Presence,
}

/// Runs until SIGINT or SIGTERM.
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
            log::info!("{signal} during the start; the host is as it was before");
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
    async fn serve(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        loop {
            let event = self.next_event(signals).await?;
            if self.handle(event).await?.is_break() {
                return Ok(());
            }
        }
    }

    async fn next_event(&mut self, signals: &mut Signals) -> anyhow::Result<Event> {
        let at = async |time: Option<Instant>| match time {
            Some(time) => sleep_until(time.into()).await,
            None => std::future::pending().await,
        };
        let (drain_over, decision_due) = (at(self.state.next_drain_end()), at(self.next_decision()));
        let trial_due = at(self.trial.as_ref().map(|trial| trial.look));
        let judge = at(self.windows.judge_at());
        let lending_due = at(self.state.leases().due());
        let soon = at(self.soon.next());
        Ok(tokio::select! {
            request = signals.next() => Event::Request(request),
            event = self.events.next() => Event::Network(event.ok_or(net::Error::EventsEnded)?),
            _ = self.tick.tick() => Event::Tick,
            () = drain_over => Event::DrainOver,
            () = decision_due => Event::DecisionDue,
            () = judge => Event::Judge,
            () = lending_due => Event::LendingDue,
            () = soon => Event::Soon,
            Some(message) = self.inbox.recv() => Event::Inbox(message),
            Some(call) = self.calls.recv() => Event::Call(call),
            () = trial_due => Event::TrialDue,
            () = self.watchdog.due() => Event::WatchdogDue,
        })
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<ControlFlow<()>> {
        match event {
            Event::Request(Request::Stop(signal)) => {
                log::info!("{signal}: stopping");
                self.detaches = signal == signals::DETACH;
                return Ok(ControlFlow::Break(()));
            }
            Event::Request(Request::Report) => {
                let status = self.status();
                log::info!("{}, configuration {}", status.state.as_str(), status.generation);
                status.trouble.iter().for_each(|trouble| log::info!("{trouble}"));
                report(&self.dataplane, self.args.counters.as_deref());
            }
            Event::Request(Request::Reload) => {
                // What came of it is in the log and in the status.
                let _ = self.take_up_file(&Who::Signal, &api::Apply::default()).await;
            }
            Event::Network(events::Event::Neighbour(entry)) => self.heard_of(&entry),
            Event::Network(events::Event::Link(link)) => match self.port(link.index) {
                Some(at) => {
                    if self.link_changed(at, link) {
                        self.settle(&[at]).await;
                    }
                }
                None => self.look_for_absent(&link).await,
            },
            Event::Network(events::Event::LinkGone(index)) => {
                if let Some(at) = self.port(index) {
                    self.lose_link(at);
                }
            }
            Event::Network(events::Event::NeighbourGone(entry)) => self.has_lost(&entry),
            Event::Network(events::Event::Address(_) | events::Event::Routes) => {
                self.soon.routes(Instant::now());
            }
            Event::Network(events::Event::Lost) => self.soon.everything(Instant::now()),
            Event::Tick => self.catch_up().await,
            Event::Soon => self.do_what_is_due().await,
            Event::Inbox(message) => match message {
                Message::Probe(report) => self.probed(&report),
                Message::FileChanged => {
                    // What came of it is in the log and in the status.
                    let _ = self.take_up_file(&Who::FileWatch, &api::Apply::default()).await;
                }
                Message::Flows(answer) => self.answered(answer),
                Message::Ports(answer) => self.heard_of_ports(answer),
                Message::Ways(read) => self.follow_routes(*read).await,
                Message::Path(report) => self.measured(&report),
            },
            Event::Call(call) => self.answer(call).await,
            Event::TrialDue => self.judge_trial().await,
            Event::WatchdogDue => watchdog::alive(),
            Event::Judge => self.judge(),
            Event::LendingDue => self.lend(),
            Event::DrainOver => {
                for name in self.state.end_drains(Instant::now()) {
                    log::info!("{name}: the drain is over; what is left of its flows is ended");
                }
                self.apply_or_retry();
            }
            Event::DecisionDue => self.decide(),
        }
        self.say_what_is_believed();
        Ok(ControlFlow::Continue(()))
    }

    fn apply(&mut self) -> anyhow::Result<Changes> {
        let plan = plan::plan(&stamped(self.state.desired()), Some(&self.plan))?;
        let changes = self.write(plan)?;
        self.behind = false;
        self.tell_of_ports();
        Ok(changes)
    }

    /// Makes the tables what the plan says.
    fn write(&mut self, plan: Plan) -> anyhow::Result<Changes> {
        let saved = saved(&self.state, self.generation, self.clock)?;
        let written = self.dataplane.apply_with(&plan, &saved);
        // Also where that failed: some of it may be there.
        self.windows.follow(&self.plan, &plan, Instant::now());
        let changes = written?;
        log::debug!("{} buckets and {} other entries written", changes.buckets, changes.entries);
        self.plan = plan;
        self.windows.direct(&self.state, &self.plan, &self.outbox);
        if self.state.model().probe.uses_data_path() {
            // They name instances by number.
            self.follow_probes();
        }
        Ok(changes)
    }

    /// For changes that nobody waits for: the tables keep what they have until it works.
    fn apply_or_retry(&mut self) {
        if let Err(error) = self.apply() {
            log::error!("the tables could not be brought up to date, which is tried again soon: {error:#}");
            self.behind = true;
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { args, netlink, changes, dataplane, api, detaches, .. } = self;
        drop(api);
        report(&dataplane, args.counters.as_deref());
        if !detaches {
            changes.leave();
            let file = args.config.display();
            log::info!("the kernel goes on forwarding; `gateway detach --config {file}` ends that");
            return Ok(());
        }
        let undone = changes.undo(&netlink).await;
        // Last of all.
        dataplane.detach()?;
        Ok(undone?)
    }
}

/// What the next process has to know.
fn saved(state: &State, generation: u64, clock: Clock) -> serde_json::Result<serde_json::Value> {
    let model = state.model();
    serde_json::to_value(Saved {
        generation,
        configuration: saved::digest(model),
        foundations: super::reload::foundations(model),
        ..state.saved(clock)
    })
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

/// With `nat` the host is the instances' way back.
fn route_replies(
    changes: &mut HostChanges,
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
