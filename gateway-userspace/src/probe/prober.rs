//! Makes the probes, each at its time.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
    thread,
    time::Instant,
};

use futures_util::future::join_all;
use tokio::{
    runtime,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Asked, Report, Target, exchange::Asker};
use crate::{
    dataplane::Connections,
    model::{InstanceName, Probe},
};

/// Probes instances until it is dropped, on a thread of its own: neither waits for the owner task's work, nor does that for
/// hundreds of handshakes.
#[derive(Debug)]
pub struct Prober {
    /// None once it ends.
    plan: Option<watch::Sender<Plan>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Whom to probe, and how.
#[derive(Debug, Clone, Default)]
struct Plan {
    probe: Probe,
    targets: Targets,
    /// For ways that need it.
    connections: Option<Connections>,
}

/// Where each instance is asked; it has to answer well at all places.
pub type Targets = BTreeMap<InstanceName, Vec<Target>>;

impl Prober {
    /// Probes nobody yet. Results go to `reports`, as what `as_message` makes of them; where nobody takes them, probes wait.
    ///
    /// # Errors
    /// There can be no thread, or it can wait for nothing.
    pub fn start<M: Send + 'static>(
        reports: mpsc::Sender<M>,
        as_message: fn(Report) -> M,
    ) -> io::Result<Self> {
        let (plan, plans) = watch::channel(Plan::default());
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let reports = Reports { to: reports, as_message };
        let work = move || runtime.block_on(run(plans, &reports));
        let thread = thread::Builder::new().name("probes".to_owned()).spawn(work)?;
        Ok(Self { plan: Some(plan), thread: Some(thread) })
    }

    /// Probes these from now on, and no others. A probe that stays what it is keeps its times.
    pub fn follow(&self, probe: &Probe, targets: Targets, connections: Option<Connections>) {
        if let Some(plan) = &self.plan {
            plan.send_replace(Plan { probe: probe.clone(), targets, connections });
        }
    }
}

/// Where results go.
struct Reports<M> {
    to: mpsc::Sender<M>,
    as_message: fn(Report) -> M,
}

impl<M> Clone for Reports<M> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), as_message: self.as_message }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        drop(self.plan.take());
        if let Some(Err(_)) = self.thread.take().map(thread::JoinHandle::join) {
            log::error!("the thread that makes the probes panicked");
        }
    }
}

/// An instance's probes; they end by Drop.
struct Task {
    targets: Vec<Target>,
    _handle: AbortOnDropHandle<()>,
}

async fn run<M: Send + 'static>(mut plans: watch::Receiver<Plan>, reports: &Reports<M>) {
    let spread = RandomState::new();
    let mut asker = Arc::new(Asker::new(Probe::default()));
    let mut tasks: BTreeMap<InstanceName, Task> = BTreeMap::new();
    loop {
        let Plan { probe, targets, connections } = plans.borrow_and_update().clone();
        if !asks_the_same(asker.probe(), &probe) || *asker.connections() != connections {
            asker = Arc::new(Asker::new(probe).with(connections));
            tasks.clear();
        }
        tasks.retain(|name, task| targets.get(name) == Some(&task.targets));
        for (name, targets) in targets {
            tasks.entry(name.clone()).or_insert_with(|| {
                // Somewhere in the interval, so that hundreds of probes do not begin at once.
                let interval = asker.probe().interval;
                let share = (spread.hash_one(&name) >> 32) as u32;
                let first = Instant::now() + interval.mul_f64(f64::from(share) / f64::from(u32::MAX));
                let asked = probe_one(Arc::clone(&asker), name, targets.clone(), first, reports.clone());
                Task { targets, _handle: AbortOnDropHandle::new(tokio::spawn(asked)) }
            });
        }
        if plans.changed().await.is_err() {
            return;
        }
    }
}

/// Keys that only say what follows from answers do not count.
fn asks_the_same(one: &Probe, other: &Probe) -> bool {
    let Probe { rise, fall, on_down, all_down, panic, slow_start, .. } = other.clone();
    Probe { rise, fall, on_down, all_down, panic, slow_start, ..one.clone() } == *other
}

/// Never more than one probe at a time, since none takes longer than the interval. A time that was missed is left out: the
/// others stay where they were.
async fn probe_one<M>(
    asker: Arc<Asker>,
    instance: InstanceName,
    targets: Vec<Target>,
    first: Instant,
    reports: Reports<M>,
) {
    let mut times = interval_at(first.into(), asker.probe().interval);
    times.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        times.tick().await;
        let begun = Instant::now();
        let asked = join_all(targets.iter().map(|target| ask(&asker, target))).await;
        let at = Instant::now();
        let Some(worst) = asked.iter().find(|one| one.outcome.is_err()).or(asked.first()) else { return };
        let report = Report {
            instance: instance.clone(),
            address: worst.address,
            outcome: worst.outcome.clone(),
            took: at.saturating_duration_since(begun),
            at,
            asked,
        };
        if reports.to.send((reports.as_message)(report)).await.is_err() {
            return;
        }
    }
}

async fn ask(asker: &Asker, target: &Target) -> Asked {
    let begun = Instant::now();
    let outcome = asker.ask(target).await;
    Asked { address: target.address, outcome, took: begun.elapsed() }
}
