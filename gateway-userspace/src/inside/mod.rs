//! The instance's end of the balancers' tunnels, with `ipip` and `gue`: beside the proxy, in a thread of its own, and neither
//! knows of the other.
//!
//! The program stays attached when this process ends, so that the next one goes on without a gap, and so that connections reach
//! listeners that are handed over. SIGINT, and `gateway detach`, take it away. Of a process that is killed neighbour entries stay,
//! which age by themselves.
//!
//! A successor changes nothing before it serves: until then its predecessor may have to go on.

mod tunnels;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

use self::tunnels::Tunnels;
use crate::{
    config,
    dataplane::{
        Decapsulation,
        pins::{Piece, Pins},
    },
    model::{Forwarding, InstanceName, Model},
    privileges::{give_up_bpf, may_load_bpf},
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

/// Runs `serve`, and meanwhile takes packets out of the tunnels, where the file has a mode with tunnels.
///
/// # Errors
/// The program cannot be attached; what `serve` says.
pub fn around(
    config: PathBuf,
    instance: &str,
    replace: Replace,
    serve: impl FnOnce(Serving) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let model = config::load(&config)?;
    // That the file does not know the instance is for the proxy to tell.
    if !has_tunnels(&model) || model.instance(instance).is_none() {
        return serve(Box::new(|| ()));
    }
    let name = InstanceName(instance.to_owned());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let (serving, serves) = oneshot::channel();
    let course = Course { replace, ready, serves, stopped };
    let thread = thread::Builder::new()
        .name("tunnels".into())
        .spawn(move || run(&config, Arc::new(model), name, course))
        .context("cannot start a thread")?;
    let serving = Box::new(|| {
        // Nobody listens only where that thread has ended, which is told below.
        let _ = serving.send(());
    });
    // An error: it has ended, and says why.
    let outcome = is_ready.recv().map_or(Ok(()), |()| serve(serving));
    drop(stop);
    let ended = thread.join().map_err(|_| anyhow!("the thread of the tunnels panicked"))?;
    outcome.and(ended)
}

fn has_tunnels(model: &Model) -> bool {
    matches!(model.balancer.forwarding, Forwarding::Ipip | Forwarding::Gue)
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
}

fn run(config: &Path, model: Arc<Model>, name: InstanceName, course: Course) -> anyhow::Result<()> {
    let Course { replace, ready, serves, mut stopped } = course;
    let decapsulation = load(Pins::open(&model.service.name, Piece::Tunnels)?)?;
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let heard = |kind| signal(kind).context("cannot listen for signals");
        let (mut hangup, mut interrupt) = (heard(SignalKind::hangup())?, heard(SignalKind::interrupt())?);
        let mut detaches = false;
        let mut tunnels = Tunnels::open(decapsulation, model, name).await?;
        let waits = replace == Replace::OnceServing && tunnels.has_predecessor();
        if !waits {
            tunnels.begin().await?;
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
                    let had_begun = tunnels.has_begun();
                    tunnels.keep().await;
                    if tunnels.has_begun() && !had_begun {
                        give_up_bpf()?;
                    }
                }
                _ = hangup.recv() => match config::load(config) {
                    Ok(model) if has_tunnels(&model) => tunnels.take_up(Arc::new(model)).await,
                    Ok(_) => log::warn!("balancer.forwarding changed: restart the proxy"),
                    // The proxy tells.
                    Err(_) => {}
                },
            }
        }
        tunnels.close(detaches).await
    })
}

/// Where no signal can come, which would make the kernel give up half-way with EAGAIN.
fn load(pins: Pins) -> anyhow::Result<Decapsulation> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let loaded = match may_load_bpf() {
        Ok(false) if pins.is_alive() => Decapsulation::inherit(pins),
        // Where it may not after all, that says so.
        _ => Decapsulation::open(pins),
    };
    before.thread_set_mask()?;
    Ok(loaded?)
}
