//! The instance's end of the balancers' tunnels, with `ipip` and `gue`: beside the proxy, in a thread of its own, and neither
//! knows of the other.
//!
//! The program stays attached when this process ends, so that the next one goes on without a gap, and so that connections reach
//! listeners that are handed over. SIGINT, and `gateway detach`, take it away. Of a process that is killed neighbour entries stay,
//! which age by themselves.

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
    privileges::give_up_bpf,
};

/// How often the other instances' MAC addresses are confirmed.
const EVERY: Duration = Duration::from_secs(5);

/// Runs `serve`, and meanwhile takes packets out of the tunnels, where the file has a mode with tunnels.
///
/// # Errors
/// The program cannot be attached; what `serve` says.
pub fn around(
    config: PathBuf,
    instance: &str,
    serve: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let model = config::load(&config)?;
    // That the file does not know the instance is for the proxy to tell.
    if !has_tunnels(&model) || model.instance(instance).is_none() {
        return serve();
    }
    let name = InstanceName(instance.to_owned());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("tunnels".into())
        .spawn(move || run(&config, Arc::new(model), name, &ready, stopped))
        .context("cannot start a thread")?;
    // An error: it has ended, and says why.
    let outcome = is_ready.recv().map_or(Ok(()), |()| serve());
    drop(stop);
    let ended = thread.join().map_err(|_| anyhow!("the thread of the tunnels panicked"))?;
    outcome.and(ended)
}

fn has_tunnels(model: &Model) -> bool {
    matches!(model.balancer.forwarding, Forwarding::Ipip | Forwarding::Gue)
}

fn run(
    config: &Path,
    model: Arc<Model>,
    name: InstanceName,
    ready: &std::sync::mpsc::Sender<()>,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let decapsulation = load(Pins::open(&model.service.name, Piece::Tunnels)?)?;
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let heard = |kind| signal(kind).context("cannot listen for signals");
        let (mut hangup, mut interrupt) = (heard(SignalKind::hangup())?, heard(SignalKind::interrupt())?);
        let mut detaches = false;
        let mut tunnels = Tunnels::open(decapsulation, model, name).await?;
        give_up_bpf()?;
        // Nobody listens only where the process ends already.
        let _ = ready.send(());
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The signal that stopped the proxy is heard before that.
                biased;
                _ = interrupt.recv() => detaches = true,
                _ = &mut stopped => break,
                _ = tick.tick() => tunnels.keep().await,
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
    let loaded = Decapsulation::open(pins);
    before.thread_set_mask()?;
    Ok(loaded?)
}
