//! The life of `gateway proxy` from its sockets on: signals, drains, successors; and all of it undone at the end, or handed over.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{interval, sleep_until},
};

use super::{
    bind::{self, Address, Bound, Listener},
    course::{Course, Life},
    files::Files,
    handover::{Error, Gone, Offered, Predecessor, Successors},
    probe::{Port, Told},
    run::Proxy,
    signals::{Request, Signals},
    store,
    upgrade::Upgrade,
    upstream,
    worker::Worker,
    workers::Workers,
};
use crate::{
    dns,
    file_watch::Marks,
    net::loopback::Held,
    service_manager,
    watchdog::{self, Watchdog},
};

/// How often it is seen to that replies still find their way back, as often as the balancer looks at its own.
const KEEP: Duration = Duration::from_secs(5);

/// A proxy that serves.
pub(super) struct Service {
    proxy: Proxy,
    files: Files,
    held: Held,
    life: Life,
    order: watch::Sender<Course>,
    told: mpsc::Receiver<Told>,
    workers: Workers,
    /// Of all listeners: for successors, and for the service manager.
    copies: Vec<(Address, TcpListener)>,
}

/// Why it ends.
enum End {
    /// It was asked to.
    Asked(Request),
    /// A successor serves.
    Succeeded,
}

/// What was offered to a successor, and its answer when it comes.
type Offer = oneshot::Receiver<Result<Gone, Error>>;

impl Service {
    /// Listens and serves. A predecessor that still runs accepts no more when this returns.
    ///
    /// # Errors
    /// An address cannot be listened on, or the predecessor is gone. It goes on as before, then.
    pub(super) async fn start(
        proxy: Proxy,
        files: Marks,
        held: Held,
        mut life: Life,
        mut predecessor: Option<Predecessor>,
    ) -> anyhow::Result<Self> {
        let inherited = match &mut predecessor {
            Some(predecessor) => std::mem::take(&mut predecessor.listeners),
            None => store::inherited(),
        };
        let inside = proxy.tunnel.map(|tunnel| tunnel.inside(held.mtu()));
        let bound = bind::bind(&proxy.addresses, &proxy.replies, proxy.workers, inside, inherited)?;
        let copies = bound.workers.iter().flatten().map(copy).collect::<io::Result<Vec<_>>>();
        let copies = copies.context("cannot copy a socket")?;
        let unwanted: Vec<Address> = bound.unwanted.iter().map(|listener| listener.address).collect();
        let (order, orders) = watch::channel(life.at(Instant::now()));
        let (tell, told) = mpsc::channel(4);
        let port = Arc::new(Port::new(tell, proxy.desk.clone()));
        let worker = |dns| {
            let (current, limits) = (Arc::clone(&proxy.current), Arc::clone(&proxy.limits));
            Arc::new(Worker::new(current, limits, proxy.via.clone(), Arc::clone(&port), dns))
        };
        let servers = dns::serve::Server::for_cores(proxy.workers, &proxy.answers);
        let workers: Vec<_> = servers.into_iter().map(worker).collect();
        port.tell_of(&workers);
        tokio::spawn(upstream::watch(Arc::clone(&proxy.current.load().known.upstreams)));
        let workers = Workers::start(workers, bound, &orders).await?;
        if let Some(predecessor) = predecessor {
            predecessor.serving().context("cannot take over")?;
            log::info!("took over from the proxy that was running");
        }
        store::keep(&copies);
        unwanted.into_iter().for_each(store::forget);
        let files = Files::watch(files);
        Ok(Self { proxy, files, held, life, order, told, workers, copies })
    }

    /// Serves until it is asked to end, or a successor does.
    ///
    /// # Errors
    /// What could not be given back.
    pub(super) async fn run(mut self, mut signals: Signals, mut upgrade: Upgrade) -> anyhow::Result<()> {
        if let Err(error) = self.held.settle().await {
            log::warn!("what the last proxy left cannot be undone: {:#}", anyhow::Error::from(error));
        }
        let successors = Successors::listen(&self.proxy.socket)
            .inspect_err(|error| log::warn!("no proxy will be able to take over from this one: {error}"))
            .ok();
        for address in &self.proxy.addresses {
            log::info!("listening on {address}");
        }
        service_manager::tell(&[NotifyState::Ready]);
        let end = self.serve(successors.as_ref(), &mut signals, &mut upgrade).await;
        drop(successors);
        // So that nobody waits at a socket that nobody accepts from.
        self.copies.clear();
        log::info!("stopping; requests in flight have {} s", self.proxy.limits.shutdown.as_secs());
        if let End::Asked(_) = end {
            service_manager::tell(&[NotifyState::Stopping]);
        }
        self.leave().await;
        let ended = self.workers.join();
        let released = match end {
            End::Succeeded => {
                self.held.leave();
                Ok(())
            }
            End::Asked(Request::Stop) if store::is_kept() => {
                log::info!("VIPs and sockets stay for the next start; SIGINT would have taken them away");
                self.held.leave();
                Ok(())
            }
            End::Asked(_) => self.held.release().await.context("cannot give back the VIPs"),
        };
        ended.and(released)
    }

    async fn serve(
        &mut self,
        successors: Option<&Successors>,
        signals: &mut Signals,
        upgrade: &mut Upgrade,
    ) -> End {
        let mut tick = interval(KEEP);
        let mut watchdog = Watchdog::asked();
        let mut offer: Option<Offer> = None;
        loop {
            let next = self.advance();
            tokio::select! {
                _ = tick.tick() => self.keep().await,
                () = watchdog.due() => if self.workers.are_alive() {
                    watchdog::alive();
                },
                request = signals.next() => match request {
                    Request::End | Request::Stop => return End::Asked(request),
                    Request::Reload => self.reload(),
                    Request::Upgrade => upgrade.begin().unwrap_or_else(|error| log::error!("{error:#}")),
                },
                Some(told) = self.told.recv() => self.be_told(told),
                () = self.files.changed() => self.renew(),
                () = until(next) => {}
                asked = asked(successors), if offer.is_none() => match self.offered() {
                    Ok(offered) => offer = Some(asked.offer(offered)),
                    Err(error) => log::error!("nothing can be handed over: {error}"),
                },
                answer = answered(&mut offer) => if self.hand_over(answer).await {
                    return End::Succeeded;
                },
                status = upgrade.failed() => {
                    log::error!("the successor could not take over ({status}); this process goes on");
                }
            }
        }
    }

    /// Nothing is accepted any more; until all connections have ended.
    async fn leave(&mut self) {
        self.life.leave(Instant::now());
        loop {
            let next = self.advance();
            tokio::select! {
                () = self.workers.ended() => return,
                () = until(next) => {}
            }
        }
    }

    /// Orders what holds now, and says when something else will.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let course = self.life.at(now);
        let before = self.order.send_replace(course);
        if course.accepts && course.cut > before.cut {
            log::info!("the drain is over: cutting {} connections that are left", self.workers.connections());
        }
        self.life.next(now)
    }

    fn be_told(&mut self, told: Told) {
        match told {
            Some(left) => log::info!("the balancer drains this instance: {} s are left", left.as_secs()),
            None => log::info!("the balancer's drain of this instance has ended"),
        }
        self.life.told(told, Instant::now());
    }

    fn reload(&mut self) {
        service_manager::reloading();
        let file = self.proxy.config.display().to_string();
        match self.take_up() {
            Ok(()) => log::info!("{file} is taken up"),
            Err(error) => {
                log::error!("{file} is not taken up, the running configuration stays: {error:#}");
            }
        }
        service_manager::tell(&[NotifyState::Ready]);
    }

    /// All that can fail first. Names are there before the listeners at which they are served, and after those at which they are
    /// not any more.
    fn take_up(&mut self) -> anyhow::Result<()> {
        let next = self.proxy.read()?;
        let change = next.addresses.as_ref().map(|wanted| self.open(wanted)).transpose()?;
        self.files = Files::watch(self.proxy.take_up(next, &mut self.life));
        if let Some((opened, closed)) = change {
            self.listen(opened, &closed);
        }
        Ok(())
    }

    /// Sockets at the addresses that are new, and the addresses that are not wanted any more. With R4 that is what a switch of the
    /// mode comes to.
    fn open(&self, wanted: &[Address]) -> anyhow::Result<(Bound, Vec<Address>)> {
        let proxy = &self.proxy;
        let new: Vec<_> = wanted.iter().filter(|one| !proxy.addresses.contains(one)).copied().collect();
        let gone: Vec<_> = proxy.addresses.iter().filter(|one| !wanted.contains(one)).copied().collect();
        // What is served otherwise at the same place keeps its socket, and who waits there.
        let kept = self
            .copies
            .iter()
            .filter(|(one, _)| gone.contains(one) && new.iter().any(|address| address.socket == one.socket));
        let kept =
            kept.map(|(address, socket)| Ok(Listener { address: *address, socket: socket.try_clone()? }));
        let kept = kept.collect::<io::Result<_>>().context("cannot copy a socket")?;
        let inside = proxy.tunnel.map(|tunnel| tunnel.inside(self.held.mtu()));
        Ok((bind::bind(&new, &proxy.replies, proxy.workers, inside, kept)?, gone))
    }

    fn listen(&mut self, opened: Bound, closed: &[Address]) {
        for address in closed {
            log::info!("no longer listening on {address}");
            store::forget(*address);
        }
        self.copies.retain(|(address, _)| !closed.contains(address));
        let all = || opened.workers.iter().flatten();
        for address in self.proxy.addresses.iter().filter(|one| all().any(|new| new.address == **one)) {
            log::info!("listening on {address}");
        }
        match all().map(copy).collect::<io::Result<Vec<_>>>() {
            Ok(copies) => {
                store::keep(&copies);
                self.copies.extend(copies);
            }
            Err(error) => log::error!("new sockets cannot be handed over to a successor: {error}"),
        }
        self.workers.change(opened, closed);
    }

    fn renew(&self) {
        match self.proxy.renew() {
            Ok(()) => log::info!("changed files of certificates are taken up"),
            Err(error) => log::error!("changed files are not taken up: {error:#}"),
        }
    }

    fn offered(&self) -> io::Result<Offered> {
        let again = |(address, listener): &(Address, TcpListener)| Ok((*address, listener.try_clone()?));
        Ok(Offered {
            lock: self.held.lock().try_clone_to_owned()?,
            listeners: self.copies.iter().map(again).collect::<io::Result<_>>()?,
            tickets: self.proxy.tickets.secrets(),
            drain: self.life.drain(Instant::now()),
        })
    }

    /// True: the successor has it all.
    async fn hand_over(&mut self, answer: Result<Gone, Error>) -> bool {
        let outcome = answer.and_then(|gone| {
            // While this is the main process: of another one the service manager takes no word.
            service_manager::tell(&[NotifyState::MainPid(gone.pid)]);
            gone.left()
                .inspect_err(|_| service_manager::tell(&[NotifyState::MainPid(std::process::id())]))?;
            Ok(gone.pid)
        });
        match outcome {
            Ok(pid) => {
                log::info!("process {pid} has taken over");
                true
            }
            Err(error) => {
                log::error!("not handed over, this process goes on: {:#}", anyhow::Error::from(error));
                if let Err(error) = self.held.reclaim().await {
                    log::error!("what the other had changed cannot be undone: {error}");
                }
                false
            }
        }
    }

    async fn keep(&self) {
        if let Err(error) = self.held.keep().await {
            log::warn!("{:#}", anyhow::Error::from(error));
        }
    }
}

fn copy(listener: &Listener) -> io::Result<(Address, TcpListener)> {
    Ok((listener.address, listener.socket.try_clone()?))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn asked(successors: Option<&Successors>) -> super::handover::Asked {
    match successors {
        Some(successors) => successors.next().await,
        None => std::future::pending().await,
    }
}

/// What a successor made of the offer; then another one may ask.
async fn answered(offer: &mut Option<Offer>) -> Result<Gone, Error> {
    let Some(waiting) = offer else { return std::future::pending().await };
    // An error: the thread has ended without a word.
    let answer = waiting.await.unwrap_or_else(|_| Err(Error::Gone(io::ErrorKind::BrokenPipe.into())));
    *offer = None;
    answer
}
