//! One thread a core, each with a runtime, listeners and connections of its own.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::{runtime, sync::mpsc, time::timeout};

use super::{
    bind::{Bound, Listener},
    counters::Sum,
    course::{self, Orders},
    listen::{self, Alive},
    overload,
    worker::Worker,
};
use crate::watchdog::Pulse;

/// For connections that are told to end and do not hear.
const DEAF: Duration = Duration::from_secs(2);

/// The threads of all workers.
pub(super) struct Workers {
    all: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    ended: mpsc::Receiver<()>,
    pulses: Vec<(Arc<Pulse>, u64)>,
}

/// What each thread tells by dropping it: that it serves, that it has ended.
struct Signs {
    serves: mpsc::Sender<()>,
    _ends: mpsc::Sender<()>,
}

impl Workers {
    /// Starts a thread for each of `workers`; what nobody wants any more is finished by the first.
    ///
    /// # Errors
    /// One does not start.
    pub(super) async fn start(
        workers: Vec<Arc<Worker>>,
        bound: Bound,
        orders: &Orders,
    ) -> anyhow::Result<Self> {
        let (serves, mut served) = mpsc::channel(workers.len());
        let (ends, ended) = mpsc::channel(1);
        let (mut threads, mut pulses) = (Vec::new(), Vec::new());
        let mut unwanted = bound.unwanted;
        for (number, (worker, listeners)) in workers.iter().zip(bound.workers).enumerate() {
            let (worker, orders) = (Arc::clone(worker), orders.clone());
            let signs = Signs { serves: serves.clone(), _ends: ends.clone() };
            let (unwanted, pulse) = (std::mem::take(&mut unwanted), Arc::new(Pulse::default()));
            pulses.push((Arc::clone(&pulse), 0));
            let thread = thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || work(&worker, listeners, unwanted, &orders, signs, pulse))
                .context("cannot start a thread")?;
            threads.push(thread);
        }
        drop((serves, ends));
        // Until every worker has said so or is gone.
        let mut serving = 0;
        while served.recv().await.is_some() {
            serving += 1;
        }
        let all = Self { all: workers, threads, ended, pulses };
        if serving < all.threads.len() { all.join().and(Err(anyhow!("a worker has ended"))) } else { Ok(all) }
    }

    /// Waits until all have ended. Safe to drop half-way.
    pub(super) async fn ended(&mut self) {
        self.ended.recv().await;
    }

    /// Whether each has run since this was asked last.
    pub(super) fn are_alive(&mut self) -> bool {
        self.pulses.iter_mut().fold(true, |all, (pulse, before)| {
            let last = std::mem::replace(before, pulse.count());
            all && *before != last
        })
    }

    /// Clients' connections now.
    pub(super) fn connections(&self) -> usize {
        self.all.iter().map(|worker| worker.connections()).sum()
    }

    /// Once they have [ended](Self::ended).
    ///
    /// # Errors
    /// One ended by an error.
    pub(super) fn join(self) -> anyhow::Result<()> {
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        let counters: Vec<_> = self.all.iter().map(|worker| worker.counters()).collect();
        log::info!("stopped: {}", Sum(&counters));
        Ok(())
    }
}

/// One core's thread: says that it serves, and does until nothing is accepted any more and its connections are done or cut.
fn work(
    worker: &Arc<Worker>,
    listeners: Vec<Listener>,
    unwanted: Vec<Listener>,
    orders: &Orders,
    signs: Signs,
    pulse: Arc<Pulse>,
) -> anyhow::Result<()> {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a worker")?;
    runtime.block_on(async {
        let (alive, mut dead): (Alive, _) = mpsc::channel(1);
        let use_it = |socket| tokio::net::TcpListener::from_std(socket).context("cannot use a socket");
        for Listener { address, socket } in listeners {
            let (worker, orders) = (Arc::clone(worker), orders.clone());
            tokio::spawn(listen::listen(worker, address.door, use_it(socket)?, orders, alive.clone()));
        }
        for Listener { address, socket } in unwanted {
            log::info!("no longer listening on {address}");
            let (worker, orders) = (Arc::clone(worker), orders.clone());
            tokio::spawn(listen::finish(worker, address.door, use_it(socket)?, orders, alive.clone()));
        }
        drop(alive);
        tokio::spawn(listen::sweep(Arc::clone(worker)));
        tokio::spawn(overload::watch(Arc::clone(worker)));
        tokio::spawn(listen::flush(Arc::clone(worker)));
        tokio::spawn(async move { pulse.beat().await });
        let Signs { serves, _ends } = signs;
        serves.send(()).await.context("the proxy ended while a worker started")?;
        drop(serves);
        course::closed(&mut orders.clone()).await;
        let patience = worker.limits.shutdown + DEAF;
        if timeout(patience, dead.recv()).await.is_err() {
            log::warn!("connections are left that do not end");
        }
        Ok(())
    })
}
