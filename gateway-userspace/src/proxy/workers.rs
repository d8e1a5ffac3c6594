//! One thread a core, each with a runtime, listeners and connections of its own.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    bind::{Address, Bound, Datagrams, Listener},
    counters::Sum,
    course::{self, Orders},
    listen::{self, Alive},
    overload,
    worker::Worker,
};
use crate::{dns, watchdog::Pulse};

/// For connections that are told to end and do not hear.
const DEAF: Duration = Duration::from_secs(2);

/// The threads of all workers.
pub(super) struct Workers {
    all: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    ended: mpsc::Receiver<()>,
    pulses: Vec<(Arc<Pulse>, u64)>,
    changes: Vec<mpsc::UnboundedSender<Change>>,
}

/// What a worker serves.
struct Sockets {
    listeners: Vec<Listener>,
    datagrams: Vec<Datagrams>,
}

impl Sockets {
    fn of(listeners: Vec<Vec<Listener>>, datagrams: Vec<Vec<Datagrams>>) -> impl Iterator<Item = Self> {
        listeners.into_iter().zip(datagrams).map(|(listeners, datagrams)| Self { listeners, datagrams })
    }
}

/// What becomes other than it is of a worker's sockets.
struct Change {
    open: Sockets,
    close: Vec<Address>,
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
        let (mut threads, mut pulses, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let mut unwanted = bound.unwanted;
        let sockets = Sockets::of(bound.workers, bound.datagrams);
        for (number, (worker, sockets)) in workers.iter().zip(sockets).enumerate() {
            let (worker, orders) = (Arc::clone(worker), orders.clone());
            let signs = Signs { serves: serves.clone(), _ends: ends.clone() };
            let (unwanted, pulse) = (std::mem::take(&mut unwanted), Arc::new(Pulse::default()));
            pulses.push((Arc::clone(&pulse), 0));
            let (change, changed) = mpsc::unbounded_channel();
            changes.push(change);
            let thread = thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || work(&worker, (sockets, changed), unwanted, &orders, signs, pulse))
                .context("cannot start a thread")?;
            threads.push(thread);
        }
        drop((serves, ends));
        // Until every worker has said so or is gone.
        let mut serving = 0;
        while served.recv().await.is_some() {
            serving += 1;
        }
        let all = Self { all: workers, threads, ended, pulses, changes };
        if serving < all.threads.len() { all.join().and(Err(anyhow!("a worker has ended"))) } else { Ok(all) }
    }

    /// Has each listen at its part of `open`, and then no more at `close`, whose connections have the time of a proxy that leaves.
    pub(super) fn change(&self, open: Bound, close: &[Address]) {
        let sockets = Sockets::of(open.workers, open.datagrams);
        for (change, open) in self.changes.iter().zip(sockets) {
            // An error: the worker has ended, and accepts nothing.
            let _ended = change.send(Change { open, close: close.to_vec() }).is_err();
        }
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
    (sockets, mut changed): (Sockets, mpsc::UnboundedReceiver<Change>),
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
        let mut doors = Doors { worker, orders, open: Vec::new() };
        for listener in sockets.listeners {
            doors.open(listener, &alive).context("cannot use a socket")?;
        }
        for datagrams in sockets.datagrams {
            doors.answer(datagrams, &alive).context("cannot use a socket")?;
        }
        for Listener { address, socket } in unwanted {
            log::info!("no longer listening on {address}");
            let (worker, orders) = (Arc::clone(worker), orders.clone());
            tokio::spawn(listen::finish(worker, address.door, use_it(socket)?, orders, alive.clone()));
        }
        tokio::spawn(listen::sweep(Arc::clone(worker)));
        tokio::spawn(overload::watch(Arc::clone(worker)));
        tokio::spawn(listen::flush(Arc::clone(worker)));
        tokio::spawn(async move { pulse.beat().await });
        let Signs { serves, _ends } = signs;
        serves.send(()).await.context("the proxy ended while a worker started")?;
        drop(serves);
        let mut closed = orders.clone();
        loop {
            tokio::select! {
                Some(change) = changed.recv() => doors.change(change, &alive),
                () = course::closed(&mut closed) => break,
            }
        }
        drop(alive);
        let patience = worker.limits.shutdown + DEAF;
        if timeout(patience, dead.recv()).await.is_err() {
            log::warn!("connections are left that do not end");
        }
        Ok(())
    })
}

/// The listeners of a worker.
struct Doors<'w> {
    worker: &'w Arc<Worker>,
    orders: &'w Orders,
    /// And how each is told that it is not wanted any more.
    open: Vec<(Address, oneshot::Sender<()>)>,
}

impl Doors<'_> {
    fn open(&mut self, Listener { address, socket }: Listener, alive: &Alive) -> io::Result<()> {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let (shut, shuts) = oneshot::channel();
        let (worker, orders) = (Arc::clone(self.worker), self.orders.clone());
        tokio::spawn(listen::listen(worker, address.door, socket, orders, shuts, alive.clone()));
        self.open.push((address, shut));
        Ok(())
    }

    /// Questions of the DNS.
    fn answer(&mut self, Datagrams { address, socket }: Datagrams, alive: &Alive) -> io::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let (shut, shuts) = oneshot::channel();
        let (server, alive, mut orders) = (Arc::clone(&self.worker.dns), alive.clone(), self.orders.clone());
        tokio::spawn(async move {
            let closed = async {
                tokio::select! {
                    () = course::closed(&mut orders) => {}
                    _ = shuts => {}
                }
            };
            dns::serve::udp::serve(server, socket, closed).await;
            drop(alive);
        });
        self.open.push((address, shut));
        Ok(())
    }

    /// The new ones first: one of them may be an old one's socket with something else behind it.
    fn change(&mut self, Change { open, close }: Change, alive: &Alive) {
        let (closing, staying) =
            std::mem::take(&mut self.open).into_iter().partition(|(one, _)| close.contains(one));
        self.open = staying;
        for listener in open.listeners {
            let address = listener.address;
            if let Err(error) = self.open(listener, alive) {
                log::error!("cannot listen on {address}: {error}");
            }
        }
        for datagrams in open.datagrams {
            let address = datagrams.address;
            if let Err(error) = self.answer(datagrams, alive) {
                log::error!("cannot listen on {address}: {error}");
            }
        }
        // To drop what would tell them tells them.
        drop::<Vec<_>>(closing);
    }
}
