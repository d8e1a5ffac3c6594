//! The instance's own programs: the end of the balancers' tunnels, with `ipip` and `gue`, and source NAT. Beside the proxy, in a
//! thread of its own, and neither knows of the other.
//!
//! The programs stay attached when this process ends, so that the next one goes on without a gap, and so that connections reach
//! listeners that are handed over. SIGINT, and `gateway detach`, take them away. Of a process that is killed neighbour entries stay,
//! which age by themselves.
//!
//! A successor changes nothing before it serves: until then its predecessor may have to go on.

mod outbound;
mod tunnels;

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Context, anyhow};
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use self::{
    outbound::Outbound,
    tunnels::{Tunnels, facing},
};
use crate::{
    config,
    dataplane::{
        self, Decapsulation,
        pins::{self, Piece, Pins},
        snat::Snat,
    },
    model::{Forwarding, InstanceName, Model},
    net::Netlink,
    privileges::{give_up_bpf, may_load_bpf},
    snat::{Asked, Desk},
};

/// How often the other instances' MAC addresses are confirmed.
const EVERY: Duration = Duration::from_secs(5);

/// When a program that is at work is replaced by this process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Before this process serves.
    AtOnce,
    /// Once it serves: whoever it follows may go on until then.
    OnceServing,
}

/// To be called once this process serves.
pub type Serving = Box<dyn FnOnce() + Send>;

/// How packets of clients come to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// As `balancer.forwarding` has it.
    Forwarded,
    /// The balancer is on this very host, and hands them over.
    AsTheyAre,
}

/// Which of the programs an instance needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    tunnels: bool,
    snat: bool,
}

impl Wanted {
    fn by(model: &Model, packets: Packets) -> Self {
        let in_tunnels = matches!(model.balancer.forwarding, Forwarding::Ipip | Forwarding::Gue);
        Self { tunnels: in_tunnels && packets == Packets::Forwarded, snat: model.snat.is_some() }
    }
}

/// Runs `serve`, and meanwhile takes packets out of the tunnels, where the file has a mode with tunnels, and has this host's own flows
/// leave by the public VIPs, where it has SNAT; what balancers say of that is handed in at the desk.
///
/// # Errors
/// A program cannot be attached; what `serve` says.
pub fn around(
    config: PathBuf,
    instance: &str,
    packets: Packets,
    replace: Replace,
    serve: impl FnOnce(Serving, Option<Desk>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let model = config::load(&config)?;
    let wanted = Wanted::by(&model, packets);
    // That the file does not know the instance is for the proxy to tell.
    let is_known = model.instance(instance).is_some();
    if is_known && !wanted.snat {
        // The file may have had it when the last process ran.
        match pins::detach(&model.service.name, Piece::Snat) {
            // Who may not look there has pinned nothing there either.
            Ok(_) | Err(dataplane::Error::Permission(_)) => {}
            Err(error) => {
                log::warn!("programs of source NAT may be at work, which the file does not want: {error}");
            }
        }
    }
    if !is_known || wanted == (Wanted { tunnels: false, snat: false }) {
        return serve(Box::new(|| ()), None);
    }
    let name = InstanceName(instance.to_owned());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let (serving, serves) = oneshot::channel();
    let (desk, orders) = Desk::new();
    let course = Course { replace, ready, serves, stopped, orders };
    let start = Start { config, model: Arc::new(model), name, packets };
    let thread = thread::Builder::new()
        .name("tunnels".into())
        .spawn(move || run(start, course))
        .context("cannot start a thread")?;
    let serving = Box::new(|| {
        // Nobody listens only where that thread has ended, which is told below.
        let _ = serving.send(());
    });
    // An error: it has ended, and says why.
    let outcome = is_ready.recv().map_or(Ok(()), |()| serve(serving, wanted.snat.then_some(desk)));
    drop(stop);
    let ended = thread.join().map_err(|_| anyhow!("the thread of the tunnels panicked"))?;
    outcome.and(ended)
}

/// What this thread begins with.
struct Start {
    config: PathBuf,
    model: Arc<Model>,
    name: InstanceName,
    packets: Packets,
}

/// What this thread and the proxy's tell each other.
struct Course {
    replace: Replace,
    /// Clients may be served.
    ready: std::sync::mpsc::Sender<()>,
    /// They are.
    serves: oneshot::Receiver<()>,
    /// They are not any more.
    stopped: oneshot::Receiver<()>,
    /// What balancers say of SNAT ports.
    orders: mpsc::Receiver<Asked>,
}

/// The programs at work.
struct Programs {
    tunnels: Option<Tunnels>,
    outbound: Option<Outbound>,
}

fn run(start: Start, course: Course) -> anyhow::Result<()> {
    let Start { config, model, name, packets } = start;
    let Course { replace, ready, serves, mut stopped, mut orders } = course;
    let wanted = Wanted::by(&model, packets);
    let decapsulation = wanted.tunnels.then(|| load(&model, Piece::Tunnels, decapsulation)).transpose()?;
    let snat = wanted.snat.then(|| load(&model, Piece::Snat, snat)).transpose()?;
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let heard = |kind| signal(kind).context("cannot listen for signals");
        let (mut hangup, mut interrupt) = (heard(SignalKind::hangup())?, heard(SignalKind::interrupt())?);
        let mut detaches = false;
        let mut programs = Programs::open(decapsulation, snat, model, name).await?;
        let waits = replace == Replace::OnceServing && programs.have_predecessor();
        if !waits {
            programs.begin().await?;
            give_up_bpf()?;
        }
        // Nobody listens only where the process ends already.
        let _ = ready.send(());
        if waits && serves.await.is_err() {
            // It never did, and says why.
            return Ok(());
        }
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The signal that stopped the proxy is heard before that.
                biased;
                _ = interrupt.recv() => detaches = true,
                _ = &mut stopped => break,
                _ = tick.tick() => {
                    let had_begun = programs.have_begun();
                    programs.keep().await;
                    if programs.have_begun() && !had_begun {
                        give_up_bpf()?;
                    }
                }
                // The proxy tells what is wrong with it.
                _ = hangup.recv() => if let Ok(model) = config::load(&config) {
                    programs.take_up(Arc::new(model), packets).await?;
                },
                Some(asked) = orders.recv() => if let Some(outbound) = &mut programs.outbound {
                    outbound.serve(asked);
                },
            }
        }
        programs.close(detaches).await
    })
}

impl Programs {
    async fn open(
        decapsulation: Option<Decapsulation>,
        snat: Option<Snat>,
        model: Arc<Model>,
        name: InstanceName,
    ) -> anyhow::Result<Self> {
        let outbound = match snat {
            Some(snat) => {
                let links = facing(&Netlink::open()?, &model, &name).await?;
                Some(Outbound::open(snat, Arc::clone(&model), name.clone(), links))
            }
            None => None,
        };
        let tunnels = match decapsulation {
            Some(decapsulation) => Some(Tunnels::open(decapsulation, model, name).await?),
            None => None,
        };
        Ok(Self { tunnels, outbound })
    }

    fn have_predecessor(&self) -> bool {
        self.tunnels.as_ref().is_some_and(Tunnels::has_predecessor)
            || self.outbound.as_ref().is_some_and(Outbound::has_predecessor)
    }

    fn have_begun(&self) -> bool {
        self.tunnels.as_ref().is_none_or(Tunnels::has_begun)
            && self.outbound.as_ref().is_none_or(Outbound::has_begun)
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.begin().await?;
        }
        self.outbound.as_mut().map_or(Ok(()), Outbound::begin)
    }

    async fn keep(&mut self) {
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.keep().await;
        }
        if let Some(outbound) = &mut self.outbound {
            outbound.keep();
        }
    }

    /// What comes anew needs privileges that this process gave up.
    async fn take_up(&mut self, model: Arc<Model>, packets: Packets) -> anyhow::Result<()> {
        let wanted = Wanted::by(&model, packets);
        if wanted.tunnels != self.tunnels.is_some() {
            log::warn!("balancer.forwarding changed: restart the proxy");
        } else if let Some(tunnels) = &mut self.tunnels {
            tunnels.take_up(Arc::clone(&model)).await;
        }
        match (&mut self.outbound, wanted.snat) {
            (Some(outbound), true) => outbound.take_up(model),
            (Some(_), false) => {
                if let Some(outbound) = self.outbound.take() {
                    outbound.close(true)?;
                    log::info!(
                        "snat.enabled is false: flows to the outside leave with this host's own addresses"
                    );
                }
            }
            (None, true) => log::warn!("snat.enabled changed: restart the proxy"),
            (None, false) => {}
        }
        Ok(())
    }

    async fn close(self, detaches: bool) -> anyhow::Result<()> {
        let closed = match self.tunnels {
            Some(tunnels) => tunnels.close(detaches).await,
            None => Ok(()),
        };
        closed.and(self.outbound.map_or(Ok(()), |outbound| outbound.close(detaches)))
    }
}

/// Where no signal can come, which would make the kernel give up half-way with EAGAIN.
fn load<T>(model: &Model, piece: Piece, open: fn(Pins) -> Loading<T>) -> anyhow::Result<T> {
    let pins = Pins::open(&model.service.name, piece)?;
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let loaded = open(pins);
    before.thread_set_mask()?;
    Ok(loaded?)
}

type Loading<T> = Result<T, dataplane::Error>;

fn decapsulation(pins: Pins) -> Loading<Decapsulation> {
    match may_load_bpf() {
        Ok(false) if pins.is_alive() => Decapsulation::inherit(pins),
        // Where it may not after all, that says so.
        _ => Decapsulation::open(pins),
    }
}

fn snat(pins: Pins) -> Loading<Snat> {
    match may_load_bpf() {
        Ok(false) if pins.is_alive() => Snat::inherit(pins),
        _ => Snat::open(pins),
    }
}
