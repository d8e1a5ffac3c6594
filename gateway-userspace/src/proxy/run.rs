//! How `gateway proxy` starts: the file, a predecessor if there is one, the VIPs; and what a changed file changes.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime;

use super::{
    Args,
    bind::{self, Address, Tunnel},
    course::Life,
    handover,
    headers::Via,
    limits::Limits,
    probe::{self, BalancerAt},
    serve::Service,
    signals::Signals,
    state::{Known, State},
    tls::{Served, Tickets, ticket_secret},
    upgrade::Upgrade,
    worker::Current,
};
use crate::{
    config,
    dns::{self, serve::Answers},
    file_watch::Marks,
    model::{AdminState, Instance, Model, ProxyLimits},
    net::{self, loopback, reply::Replies},
    snat::Desk,
};

/// What stays the same until the end.
pub(super) struct Proxy {
    pub(super) config: PathBuf,
    /// What is served now.
    model: Model,
    pub(super) limits: Arc<Limits>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) current: Current,
    /// What the DNS says.
    pub(super) answers: dns::serve::Current,
    pub(super) addresses: Vec<Address>,
    pub(super) replies: Vec<Replies>,
    /// What a packet of a client is in when it comes here.
    pub(super) tunnel: Option<Tunnel>,
    pub(super) workers: usize,
    instance: String,
    balancer: BalancerAt,
    /// As the file said at the start.
    written_limits: ProxyLimits,
    pub(super) via: Via,
    /// Where balancers' orders of SNAT ports go.
    pub(super) desk: Option<Desk>,
    /// Where successors ask.
    pub(super) socket: PathBuf,
}

/// Serves the instance until it is asked to end, or a successor takes over.
pub(super) fn run(args: &Args, desk: Option<Desk>, serving: impl FnOnce()) -> anyhow::Result<()> {
    let balancer = if args.beside_balancer { BalancerAt::Here } else { BalancerAt::Elsewhere };
    let upgrade = Upgrade::of(args)?;
    let model = config::load(&args.config)?;
    let me = find(&model, &args.instance)?;
    reaches_api(&model, balancer)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut limits = Limits::of(&model.proxy.limits, workers);
    if let Some(descriptors) = raise_descriptor_limit() {
        limits.fit(descriptors, workers);
        log::info!(
            "up to {} connections for each of {workers} workers: {descriptors} descriptors may be open",
            limits.connections
        );
    }
    let limits = Arc::new(limits);
    let via = Via::new(&args.instance)
        .ok_or_else(|| anyhow!("the instance's name {:?} cannot stand in a Via field", args.instance))?;
    let socket = handover::path(&args.instance)?;
    let mut predecessor = if args.take_over { handover::ask(&socket)? } else { None };
    let tickets = match &mut predecessor {
        Some(predecessor) => Tickets::of(std::mem::take(&mut predecessor.tickets)),
        None => Tickets::new(),
    };
    let tickets = Arc::new(tickets.context("cannot make keys for session tickets")?);
    let files = Marks::of(model.proxy_files());
    share(&tickets, &model)?;
    let known = Known::nothing(workers, &limits);
    let state = State::load(&model, probe::Asked::of(&model, me, balancer), &tickets, &limits, &known)?;
    let answers = Answers::new(&model.dns, &dns::records(&model, &args.config)?);
    let addresses = bind::addresses(&model, me);
    let proxy = Proxy {
        config: args.config.clone(),
        model: model.clone(),
        current: Arc::new(ArcSwap::from_pointee(state)),
        answers: Arc::new(ArcSwap::from_pointee(answers)),
        replies: bind::replies(&model, me),
        tunnel: bind::tunnel(&model, me),
        limits,
        tickets,
        addresses,
        workers,
        instance: args.instance.clone(),
        balancer,
        written_limits: model.proxy.limits.clone(),
        via,
        desk,
        socket,
    };
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let vips: Vec<_> = model.vip.all().collect();
    runtime.block_on(async {
        // Before the VIPs, so that no signal ends this process with them on lo.
        let signals = Signals::listen()?;
        let mut held = match &predecessor {
            None => loopback::hold(&vips, &me.dip).await.map_err(already_running),
            Some(predecessor) => {
                let lock = predecessor.lock.try_clone().context("cannot copy a descriptor")?;
                loopback::hold_after(lock, &vips, &me.dip).await.map_err(Into::into)
            }
        }
        .context("cannot take the VIPs")?;
        held.send_back(&proxy.replies).await.context("cannot send replies through the balancer")?;
        let mut life = Life::new(proxy.limits.moment, proxy.limits.shutdown);
        if let Some(predecessor) = &predecessor {
            life.go_on(predecessor.drain, Instant::now());
        }
        life.file(drain(&model, me), Instant::now());
        let service = Service::start(proxy, files, held, life, predecessor).await?;
        serving();
        service.run(signals, upgrade).await
    })
}

/// Has keys of tickets made from the secret that the instances share, if they do.
fn share(tickets: &Tickets, model: &Model) -> anyhow::Result<()> {
    let secret = model.proxy.ticket_secret.as_deref().map(ticket_secret::read).transpose()?;
    tickets.share(secret.as_deref()).context("cannot make keys for session tickets")
}

/// What `gateway check` cannot know: whose host this is.
fn reaches_api(model: &Model, balancer: BalancerAt) -> anyhow::Result<()> {
    if balancer == BalancerAt::Elsewhere && model.serves_api_on_loopback() {
        bail!(
            "the `management` endpoint has no routes and leads to `balancer.admin`, {}, which is another host's: write an address \
             of the balancer's own there, or give the endpoint `routes`; if the balancer runs on this host, say `--beside-balancer`",
            model.balancer.admin
        );
    }
    Ok(())
}

/// How long an instance that is down may keep its connections.
fn drain(model: &Model, me: &Instance) -> Option<Duration> {
    (me.admin_state == AdminState::Down).then_some(model.balancer.drain)
}

fn already_running(error: net::Error) -> anyhow::Error {
    let is_running = matches!(error, net::Error::Running { .. });
    let error = anyhow::Error::from(error);
    if is_running {
        error.context("a proxy serves already; `--take-over` follows it without losing a connection")
    } else {
        error
    }
}

fn find<'a>(model: &'a Model, name: &str) -> anyhow::Result<&'a Instance> {
    model.instance(name).with_context(|| model.no_instance(name))
}

/// A file that can be served.
pub(super) struct Next {
    model: Model,
    state: State,
    answers: Answers,
    /// What was known of its other files before they were read.
    files: Marks,
    drain: Option<Duration>,
    /// Where it is served; None: that takes another process.
    pub(super) addresses: Option<Vec<Address>>,
}

impl Proxy {
    /// SIGHUP: the file as it is now. One that cannot be served leaves everything as it is.
    pub(super) fn read(&self) -> anyhow::Result<Next> {
        let model = config::load(&self.config)?;
        let me = find(&model, &self.instance)?;
        reaches_api(&model, self.balancer)?;
        let files = Marks::of(model.proxy_files());
        let asked = probe::Asked::of(&model, me, self.balancer);
        let known = self.current.load().known.clone();
        let state = State::load(&model, asked, &self.tickets, &self.limits, &known)?;
        share(&self.tickets, &model)?;
        let answers = Answers::new(&model.dns, &dns::records(&model, &self.config)?);
        let addresses = self.stays(&model, me).then(|| bind::addresses(&model, me));
        Ok(Next { drain: drain(&model, me), addresses, model, state, answers, files })
    }

    /// Whether packets still come to this host in the same way: the rest can change while it serves.
    fn stays(&self, model: &Model, me: &Instance) -> bool {
        let hosts =
            |addresses: &[Address]| addresses.iter().map(|one| one.socket.ip()).collect::<BTreeSet<_>>();
        hosts(&bind::addresses(model, me)) == hosts(&self.addresses)
            && bind::replies(model, me) == self.replies
            && bind::tunnel(model, me) == self.tunnel
    }

    /// Names, routes, certificates, what balancers are told, a drain. Returns what was known of the other files.
    pub(super) fn take_up(&mut self, next: Next, life: &mut Life) -> Marks {
        if next.addresses.is_none() {
            log::warn!(
                "VIPs, DIPs, forwarding, balancer.address or mode = \"none\" changed: restart the proxy to serve there (SIGUSR2 \
                 does it without losing a connection)"
            );
        }
        if next.model.proxy.limits != self.written_limits {
            log::warn!(
                "proxy.limits changed: restart the proxy (SIGUSR2 does it without losing a connection)"
            );
        }
        life.file(next.drain, Instant::now());
        next.answers.follow(&self.answers.load());
        self.answers.store(Arc::new(next.answers));
        let known = next.state.known.clone();
        self.current.store(Arc::new(next.state));
        known.traffic.forget_what_is_gone();
        self.addresses = next.addresses.unwrap_or_else(|| std::mem::take(&mut self.addresses));
        self.model = next.model;
        next.files
    }

    /// Certificates, authorities, the secret of tickets: as their files are now, under the same configuration. What cannot be used is
    /// logged, and what was used before stays.
    pub(super) fn renew(&self) -> anyhow::Result<()> {
        if let Err(error) = share(&self.tickets, &self.model) {
            log::error!("the keys of session tickets stay: {error:#}");
        }
        let before = self.current.load();
        let certificates = Served::renew(&self.model, &self.tickets, &before.certificates);
        let asked = probe::Asked::of(&self.model, find(&self.model, &self.instance)?, self.balancer);
        let state = State::with(&self.model, certificates, asked, &self.limits, &before.known)?;
        self.current.store(Arc::new(state));
        Ok(())
    }
}

/// The soft limit of most systems is 1,024 for the sake of select(2), which is not used here. Returns what may be open now.
fn raise_descriptor_limit() -> Option<u64> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard))
        .inspect_err(|error| log::warn!("cannot raise the limit of open descriptors: {error}"));
    raised.or_else(|_| getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)).ok()
}
