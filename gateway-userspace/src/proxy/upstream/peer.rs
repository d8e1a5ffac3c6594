//! The upstreams of the process. What is known of one outlives a reload, and each worker has a part of its own in each: workers
//! wait for nobody.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

use super::{
    eject::Record,
    health::Standing,
    http1::Link,
    kept::{Keep, Kept},
    limit::Bound,
    names::{NameSeen, Names},
    server::Server,
    shared::Several,
};
use crate::{
    model::{HealthCheck, UpstreamLimits},
    proxy::{
        limits::Limits,
        observe::{CLASSES, class},
    },
};

/// All of them.
#[derive(Debug)]
pub struct Upstreams {
    peers: Mutex<HashMap<Server, Weak<Peer>>>,
    /// Of those that are probed. The same upstream may be, in more ways than one.
    standings: Mutex<Vec<Weak<Standing>>>,
    /// Standings that nobody probes yet.
    new: Notify,
    /// Of those that are limited.
    bounds: Mutex<Vec<Weak<Bound>>>,
    pub(super) names: Names,
    workers: usize,
    joined: AtomicUsize,
    keep: Keep,
    started: Instant,
}

/// An upstream at an address.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) server: Server,
    /// One a worker; each with a count of its own, so that two workers write to nothing in common.
    parts: Box<[Arc<Part>]>,
}

/// A worker's part in an upstream. As long as two lines of the cache, for they are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Part {
    pub(super) kept: Kept,
    pub(super) shared: Several,
    in_flight: AtomicU32,
    record: AtomicU64,
    /// Answers by class of status.
    answers: [AtomicU64; CLASSES.len()],
    failures: AtomicU64,
    name: Arc<str>,
}

/// A request in flight, and its place where these are limited.
#[derive(Debug)]
pub(super) struct Flight {
    part: Arc<Part>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Upstreams {
    /// For so many workers.
    pub fn new(workers: usize, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            peers: Mutex::default(),
            standings: Mutex::default(),
            new: Notify::new(),
            bounds: Mutex::default(),
            names: Names::default(),
            workers: workers.max(1),
            joined: AtomicUsize::new(0),
            keep: Keep {
                age: limits.upstream_idle,
                most: limits.upstream_idle_connections,
                lines: limits.upstream_connections,
                streams: limits.upstream_streams,
            },
            started: Instant::now(),
        })
    }

    /// One more worker: its number.
    pub(super) fn join(&self) -> usize {
        self.joined.fetch_add(1, Ordering::Relaxed) % self.workers
    }

    /// For how many workers there are parts.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// What records go by.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Has names resolved by these, or if there are none by those whom the system asks.
    pub fn resolve_by(&self, servers: &[SocketAddr]) {
        self.names.ask(servers);
    }

    /// That upstream, the same one for all who ask while somebody has it.
    pub(super) fn peer(&self, server: &Server) -> Arc<Peer> {
        let mut peers = self.lock();
        if let Some(peer) = peers.get(server).and_then(Weak::upgrade) {
            return peer;
        }
        let name: Arc<str> = server.to_string().into();
        let parts = (0..self.workers).map(|_| Arc::new(Part::new(self.keep, &name))).collect();
        let peer = Arc::new(Peer { server: server.clone(), parts });
        peers.retain(|_, peer| peer.strong_count() > 0);
        peers.insert(server.clone(), Arc::downgrade(&peer));
        peer
    }

    /// How an upstream stands by these probes, the same for all who ask while somebody has it.
    pub(super) fn standing(&self, server: &Server, check: &HealthCheck) -> Arc<Standing> {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = standings.iter().filter_map(Weak::upgrade).find(|known| known.is_of(server, check));
        known.unwrap_or_else(|| {
            let standing = Arc::new(Standing::new(self.peer(server), check.clone()));
            standings.retain(|standing| standing.strong_count() > 0);
            standings.push(Arc::downgrade(&standing));
            self.new.notify_one();
            standing
        })
    }

    /// An upstream's places under these limits, the same for all who ask while somebody has it.
    pub(super) fn bound(&self, server: &Server, limits: &UpstreamLimits) -> Arc<Bound> {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = bounds.iter().filter_map(Weak::upgrade).find(|known| known.is_of(server, limits));
        known.unwrap_or_else(|| {
            let bound = Arc::new(Bound::new(server.clone(), limits.clone()));
            bounds.retain(|bound| bound.strong_count() > 0);
            bounds.push(Arc::downgrade(&bound));
            bound
        })
    }

    /// Standings that nobody probes yet, as soon as there is one.
    pub(super) async fn unprobed(&self) -> Vec<Weak<Standing>> {
        loop {
            let new = self.take_unprobed();
            if !new.is_empty() {
                return new;
            }
            self.new.notified().await;
        }
    }

    fn take_unprobed(&self) -> Vec<Weak<Standing>> {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = |standing: &&Weak<Standing>| standing.upgrade().is_some_and(|one| one.take());
        standings.iter().filter(takes).cloned().collect()
    }

    /// Those that are in use.
    pub(super) fn living(&self) -> Vec<Arc<Peer>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Weak<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    pub(super) fn part(&self, worker: usize) -> &Arc<Part> {
        &self.parts[worker]
    }

    /// An unused connection, whichever worker has it.
    pub(super) fn spare(&self) -> Option<Box<Link>> {
        self.parts.iter().find_map(|part| part.kept.take())
    }

    /// Ends all its unused connections.
    pub(super) fn forget(&self) {
        for part in &self.parts {
            part.kept.forget();
            part.shared.forget();
        }
    }
}

impl Part {
    fn new(keep: Keep, name: &Arc<str>) -> Self {
        Self {
            kept: Kept::new(keep),
            shared: Several::new(keep),
            in_flight: AtomicU32::new(0),
            record: AtomicU64::new(0),
            answers: Default::default(),
            failures: AtomicU64::new(0),
            name: Arc::clone(name),
        }
    }

    /// The upstream, for people.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// An answer has come.
    pub(super) fn count_answer(&self, status: StatusCode) {
        self.answers[class(status)].fetch_add(1, Ordering::Relaxed);
    }

    /// There will be none.
    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests in flight.
    pub(super) fn load(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn record(&self) -> Record {
        Record::from_bits(self.record.load(Ordering::Relaxed))
    }

    /// Only its own worker does so: no update is lost.
    pub(super) fn set_record(&self, record: Record) {
        self.record.store(record.to_bits(), Ordering::Relaxed);
    }
}

/// What metrics tell of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSeen {
    /// `http://10.0.1.20:8080`
    pub name: Arc<str>,
    /// Answers by class of status.
    pub answers: [u64; CLASSES.len()],
    /// Requests without an answer.
    pub failures: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Some worker leaves it out after failures.
    pub is_left_out: bool,
}

impl Upstreams {
    /// All names that are followed.
    pub fn names(&self) -> Vec<NameSeen> {
        self.names.seen()
    }

    /// All that are in use, by name. Those that differ by their TLS alone are one.
    pub fn seen(&self) -> Vec<UpstreamSeen> {
        let mut seen: Vec<_> = self.living().iter().map(|peer| peer.seen(self.now())).collect();
        seen.sort_by(|one, other| one.name.cmp(&other.name));
        seen.dedup_by(|other, one| one.name == other.name && one.add(other));
        seen
    }
}

impl UpstreamSeen {
    /// True: that is one of it now.
    fn add(&mut self, other: &Self) -> bool {
        for (one, more) in self.answers.iter_mut().zip(other.answers) {
            *one += more;
        }
        self.failures += other.failures;
        self.in_flight += other.in_flight;
        self.is_left_out |= other.is_left_out;
        true
    }
}

impl Peer {
    fn seen(&self, now: Duration) -> UpstreamSeen {
        let sum = |of: &dyn Fn(&Part) -> u64| self.parts.iter().map(|part| of(part)).sum();
        UpstreamSeen {
            name: self.server.to_string().into(),
            answers: std::array::from_fn(|class| sum(&|part| part.answers[class].load(Ordering::Relaxed))),
            failures: sum(&|part| part.failures.load(Ordering::Relaxed)),
            in_flight: sum(&|part| part.load().into()),
            is_left_out: self.parts.iter().any(|part| part.record().is_out(now)),
        }
    }
}

impl Flight {
    pub(super) fn new(part: &Arc<Part>, place: Option<OwnedSemaphorePermit>) -> Self {
        part.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { part: Arc::clone(part), _place: place }
    }

    pub(super) fn part(&self) -> &Part {
        &self.part
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.part.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Upstream, UpstreamScheme, UpstreamTls};

    fn server(port: u16) -> Server {
        let address = ([10, 0, 1, 20], port).into();
        Server { upstream: Upstream::at(UpstreamScheme::Https, address), address }
    }

    #[tokio::test]
    async fn connections_of_different_tls_are_not_shared() {
        let upstreams = Upstreams::new(1, &Limits::default());
        let with = |tls: UpstreamTls| {
            let mut server = server(1);
            server.upstream.tls = Some(Arc::new(tls));
            server
        };
        let ca = UpstreamTls { ca: Some("ca.pem".into()), ..UpstreamTls::default() };
        let name = UpstreamTls { server_name: Some("orders.internal".into()), ..ca.clone() };
        let peers = [server(1), with(ca.clone()), with(name)].map(|server| upstreams.peer(&server));
        assert_eq!(upstreams.living().len(), 3);
        assert!(Arc::ptr_eq(&peers[1], &upstreams.peer(&with(ca))), "the same is shared");
    }

    #[tokio::test]
    async fn an_upstream_is_one_for_all_as_long_as_somebody_has_it() {
        let upstreams = Upstreams::new(2, &Limits::default());
        let (one, other) = (upstreams.peer(&server(1)), upstreams.peer(&server(2)));
        assert!(Arc::ptr_eq(&one, &upstreams.peer(&server(1))));
        assert_eq!(upstreams.living().len(), 2);
        drop(one);
        assert_eq!(upstreams.living().len(), 1);
        assert_eq!(upstreams.living()[0].server, other.server);
        upstreams.peer(&server(3));
        assert_eq!(upstreams.lock().len(), 2, "who is gone is forgotten");
    }

    #[tokio::test]
    async fn workers_have_parts_of_their_own() {
        let upstreams = Upstreams::new(2, &Limits::default());
        let (first, second) = (upstreams.join(), upstreams.join());
        let peer = upstreams.peer(&server(1));
        let flight = Flight::new(peer.part(first), None);
        let load = |worker| peer.part(worker).load();
        assert_eq!((load(first), load(second)), (1, 0));
        drop(flight);
        assert_eq!((load(first), load(second)), (0, 0));
    }
}
