//! Makes the probes, each at its time.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at},
};

use super::{Report, Target, exchange::Asker};
use crate::model::{InstanceName, Probe};

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
    targets: BTreeMap<InstanceName, Target>,
}

impl Prober {
    /// Probes nobody yet. Results go to `reports`; where nobody takes them, probes wait.
    ///
    /// # Errors
    /// There can be no thread, or it can wait for nothing.
    pub fn start<M: From<Report> + Send + 'static>(reports: mpsc::Sender<M>) -> io::Result<Self> {
        let (plan, plans) = watch::channel(Plan::default());
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(run(plans, &reports));
        let thread = thread::Builder::new().name("probes".to_owned()).spawn(work)?;
        Ok(Self { plan: Some(plan), thread: Some(thread) })
    }

    /// Probes these from now on, and no others. A probe that stays what it is keeps its times.
    pub fn follow(&self, probe: &Probe, targets: BTreeMap<InstanceName, Target>) {
        if let Some(plan) = &self.plan {
            plan.send_replace(Plan { probe: probe.clone(), targets });
        }
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
    target: Target,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

async fn run<M: From<Report> + Send + 'static>(mut plans: watch::Receiver<Plan>, reports: &mpsc::Sender<M>) {
    let spread = RandomState::new();
    let mut asker = Arc::new(Asker::new(Probe::default()));
    let mut tasks: BTreeMap<InstanceName, Task> = BTreeMap::new();
    loop {
        let Plan { probe, targets } = plans.borrow_and_update().clone();
        if !asks_the_same(asker.probe(), &probe) {
            asker = Arc::new(Asker::new(probe));
            tasks.clear();
        }
        tasks.retain(|name, task| targets.get(name) == Some(&task.target));
        for (name, target) in targets {
            tasks.entry(name.clone()).or_insert_with(|| {
                // Somewhere in the interval, so that hundreds of probes do not begin at once.
                let interval = asker.probe().interval;
                let share = (spread.hash_one(&name) >> 32) as u32;
                let first = Instant::now() + interval.mul_f64(f64::from(share) / f64::from(u32::MAX));
                let asked = probe_one(Arc::clone(&asker), name, target.clone(), first, reports.clone());
                Task { target, handle: tokio::spawn(asked) }
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
async fn probe_one<M: From<Report>>(
    asker: Arc<Asker>,
    instance: InstanceName,
    target: Target,
    first: Instant,
    reports: mpsc::Sender<M>,
) {
    let mut times = interval_at(first.into(), asker.probe().interval);
    times.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        times.tick().await;
        let begun = Instant::now();
        let outcome = asker.ask(&target).await;
        let at = Instant::now();
        let took: Duration = at.saturating_duration_since(begun);
        let report = Report { instance: instance.clone(), address: target.address, outcome, took, at };
        if reports.send(report.into()).await.is_err() {
            return;
        }
    }
}
