//! The life of `gateway proxy`: addresses, sockets, workers, signals, and all of it undone at the end.

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::server::ProducesTickets;
use sd_notify::NotifyState;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::interval,
};

use super::{
    bind::{self, Address, Tunnel},
    connection::Stop,
    counters::Sum,
    headers::Via,
    limits::Limits,
    listen,
    probe::{Asked, BalancerAt, Flows},
    routes::Door,
    state::State,
    tls,
    upstream::{self, Upstreams},
    worker::{Current, Worker},
};
use crate::{
    config,
    model::{Instance, Model},
    net::{
        loopback::{self, Held},
        reply::Replies,
    },
};

/// How often it is seen to that replies still find their way back, as often as the balancer looks at its own.
const KEEP: Duration = Duration::from_secs(5);

/// What stays the same until the end.
struct Proxy<'a> {
    config: &'a Path,
    limits: Arc<Limits>,
    tickets: Arc<dyn ProducesTickets>,
    current: Current,
    addresses: Vec<Address>,
    replies: Vec<Replies>,
    /// What a packet of a client is in when it comes here.
    tunnel: Option<Tunnel>,
    workers: usize,
    instance: String,
    balancer: BalancerAt,
}

/// The signals of this process, heard from their making on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let heard = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
            hangup: heard(SignalKind::hangup())?,
        })
    }
}

/// Serves `instance` of the file `config` until SIGINT or SIGTERM.
pub(super) fn run(config: &Path, instance: &str, balancer: BalancerAt) -> anyhow::Result<()> {
    let model = config::load(config)?;
    let me = find(&model, instance)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut limits = Limits::default();
    if let Some(descriptors) = raise_descriptor_limit() {
        limits.fit(descriptors, workers);
        log::info!(
            "up to {} connections for each of {workers} workers: {descriptors} descriptors may be open",
            limits.connections
        );
    }
    let limits = Arc::new(limits);
    let tickets = tls::tickets().context("cannot make keys for session tickets")?;
    let upstreams = Upstreams::new(workers, &limits);
    let state = State::load(&model, Asked::of(&model, me, balancer), &tickets, &limits, &upstreams)?;
    let addresses = bind::addresses(&model, me);
    let replies = bind::replies(&model, me, &addresses);
    let tunnel = bind::tunnel(&model, me);
    let via = Via::new(instance)
        .ok_or_else(|| anyhow!("the instance's name {instance:?} cannot stand in a Via field"))?;
    let proxy = Proxy {
        config,
        current: Arc::new(ArcSwap::from_pointee(state)),
        limits,
        tickets,
        addresses,
        replies,
        tunnel,
        workers,
        instance: instance.to_owned(),
        balancer,
    };
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let vips: Vec<_> = model.vip.all().collect();
    runtime.block_on(async {
        // Before the VIPs, so that no signal ends this process with them on lo.
        let mut signals = Signals::listen()?;
        let mut held = loopback::hold(&vips, &me.dip).await.context("cannot take the VIPs")?;
        held.send_back(&proxy.replies).await.context("cannot send replies through the balancer")?;
        held.settle().await.context("cannot undo what the last proxy left")?;
        let outcome = proxy.serve(&via, &held, &mut signals).await;
        let released = held.release().await.context("cannot give back the VIPs");
        outcome.and(released)
    })
}

fn find<'a>(model: &'a Model, name: &str) -> anyhow::Result<&'a Instance> {
    if let Some(instance) = model.instance(name) {
        return Ok(instance);
    }
    let names = model.instance_names();
    let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let near = names.iter().map(|known| (strsim::damerau_levenshtein(&known.0, name), known)).min();
    match near {
        Some((distance, known)) if distance <= 2 => {
            bail!("there is no instance {name:?}; did you mean `--instance {known}`? The file has {list}")
        }
        Some(_) => bail!("there is no instance {name:?}; the file has {list}"),
        None => bail!("there is no instance {name:?}: the file has no [[instance]]"),
    }
}

impl Proxy<'_> {
    async fn serve(&self, via: &Via, held: &Held, signals: &mut Signals) -> anyhow::Result<()> {
        let inside = self.tunnel.map(|tunnel| tunnel.inside(held.mtu()));
        let sockets = bind::bind(&self.addresses, &self.replies, self.workers, inside)?;
        let (stop, stopped) = watch::channel(false);
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        let (ready, mut started) = mpsc::channel(self.workers);
        let flows = Arc::new(Flows::default());
        tokio::spawn(upstream::watch(Arc::clone(&self.current.load().upstreams)));
        for (number, listeners) in sockets.into_iter().enumerate() {
            let worker = Arc::new(Worker::new(
                Arc::clone(&self.current),
                Arc::clone(&self.limits),
                via.clone(),
                Arc::clone(&flows),
            ));
            workers.push(Arc::clone(&worker));
            let (stopped, ready) = (stopped.clone(), ready.clone());
            let thread = thread::Builder::new().name(format!("proxy-{number}"));
            threads.push(
                thread
                    .spawn(move || work(&worker, listeners, &stopped, ready))
                    .context("cannot start a thread")?,
            );
        }
        drop(ready);
        // Until every worker has said so or is gone.
        let mut serving = 0;
        while started.recv().await.is_some() {
            serving += 1;
        }
        if serving == threads.len() {
            for address in &self.addresses {
                log::info!("listening on {address}");
            }
            notify(&[NotifyState::Ready]);
            let mut tick = interval(KEEP);
            loop {
                tokio::select! {
                    _ = tick.tick() => keep(held).await,
                    _ = signals.terminate.recv() => break,
                    _ = signals.interrupt.recv() => break,
                    _ = signals.hangup.recv() => self.reload(),
                }
            }
            log::info!("stopping; requests in flight have {} s", self.limits.shutdown.as_secs());
        }
        notify(&[NotifyState::Stopping]);
        stop.send_replace(true);
        for thread in threads {
            // Blocking is fine: nothing else is left to do here. A worker that did not start says why.
            thread.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        let counters: Vec<_> = workers.iter().map(|worker| worker.counters()).collect();
        log::info!("stopped: {}", Sum(&counters));
        Ok(())
    }

    /// SIGHUP: names, routes, certificates. A file that cannot be served leaves everything as it is.
    fn reload(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        match self.reloaded() {
            Ok(()) => log::info!("{} is taken up", self.config.display()),
            Err(error) => log::error!(
                "{} is not taken up, the running configuration stays: {error:#}",
                self.config.display()
            ),
        }
        notify(&[NotifyState::Ready]);
    }

    fn reloaded(&self) -> anyhow::Result<()> {
        let model = config::load(self.config)?;
        let me = find(&model, &self.instance)?;
        let asked = Asked::of(&model, me, self.balancer);
        let upstreams = Arc::clone(&self.current.load().upstreams);
        let state = State::load(&model, asked, &self.tickets, &self.limits, &upstreams)?;
        let addresses = bind::addresses(&model, me);
        if addresses != self.addresses {
            log::warn!(
                "VIPs, DIPs, mode, forwarding, probe port or redirect_http changed: restart the proxy to listen there"
            );
        } else if bind::replies(&model, me, &addresses) != self.replies {
            log::warn!("balancer.address changed: restart the proxy to send replies there");
        }
        self.current.store(Arc::new(state));
        Ok(())
    }
}

/// One core's thread: says that it is `ready`, serves until stopped, then until its connections are done or out of time.
fn work(
    worker: &Arc<Worker>,
    listeners: Vec<(Door, std::net::TcpListener)>,
    stop: &Stop,
    ready: mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a worker")?;
    runtime.block_on(async {
        let (alive, mut dead) = mpsc::channel(1);
        for (door, listener) in listeners {
            let listener = tokio::net::TcpListener::from_std(listener).context("cannot use a socket")?;
            tokio::spawn(listen::listen(Arc::clone(worker), door, listener, stop.clone(), alive.clone()));
        }
        drop(alive);
        tokio::spawn(listen::sweep(Arc::clone(worker)));
        ready.send(()).await.context("the proxy ended while a worker started")?;
        drop(ready);
        super::connection::stopped(&mut stop.clone()).await;
        if tokio::time::timeout(worker.limits.shutdown, dead.recv()).await.is_err() {
            log::warn!("cutting requests that are still in flight");
        }
        Ok(())
    })
}

/// The soft limit of most systems is 1,024 for the sake of select(2), which is not used here. Returns what may be open now.
fn raise_descriptor_limit() -> Option<u64> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard))
        .inspect_err(|error| log::warn!("cannot raise the limit of open descriptors: {error}"));
    raised.or_else(|_| getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)).ok()
}

async fn keep(held: &Held) {
    if let Err(error) = held.keep().await {
        log::warn!("{:#}", anyhow::Error::from(error));
    }
}

/// To systemd, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell the service manager: {error}");
    }
}
