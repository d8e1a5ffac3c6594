//! Connections of HTTP/1.1 that wait for their next request: each worker's apart, so that their lock is never waited for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    http1::{Link, Sending, Unlinked},
    peer::{Flight, Upstreams},
    shared::Place,
};
use crate::proxy::{body::Upload, overload::Admitted};

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) age: Duration,
    pub(super) most: usize,
    /// Connections of HTTP/2 …
    pub(super) lines: usize,
    /// … and requests on each.
    pub(super) streams: usize,
}

/// Connections of a worker to an upstream.
#[derive(Debug)]
pub(super) struct Kept {
    idle: Mutex<Vec<Idle>>,
    keep: Keep,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// What a request goes by.
#[derive(Debug)]
pub(super) enum Way {
    /// A connection of its own.
    Own(Box<Link>),
    /// One that others use as well.
    Shared { _place: Place },
}

/// A connection in use, or a place on one. Dropped, it ends; released, it is kept.
#[derive(Debug)]
pub struct Lease {
    pub(super) way: Way,
    pub(super) flight: Flight,
    /// The request's body, if it has one …
    pub(super) upload: Option<Arc<Upload>>,
    /// … and whoever sends it, where the connection is its own.
    pub(super) sending: Option<Sending>,
    /// Its place among the requests of the worker.
    pub(super) admitted: Option<Admitted>,
}

/// Counts what a request has become as one in flight.
#[derive(Debug)]
pub struct InFlight {
    _flight: Flight,
    _admitted: Option<Admitted>,
}

/// A worker's share in all upstreams.
#[derive(Debug)]
pub struct Pool {
    upstreams: Arc<Upstreams>,
    /// Which of the workers it is.
    pub(super) worker: usize,
}

impl Kept {
    pub(super) fn new(keep: Keep) -> Self {
        Self { idle: Mutex::default(), keep }
    }

    /// The connection used last: the others may grow old and go.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        let mut idle = self.lock();
        while let Some(Idle { link, since }) = idle.pop() {
            if since.elapsed() < self.keep.age && link.is_ready() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, link: Box<Link>) {
        let mut idle = self.lock();
        if idle.len() < self.keep.most {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn sweep(&self) {
        self.lock().retain(|idle| idle.since.elapsed() < self.keep.age && idle.link.is_ready());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Of one more worker.
    pub fn new(upstreams: Arc<Upstreams>) -> Self {
        let worker = upstreams.join();
        Self { upstreams, worker }
    }

    /// Ends connections that were not used for too long or that their upstream has ended.
    pub fn sweep(&self) {
        for peer in self.upstreams.living() {
            let part = peer.part(self.worker);
            part.kept.sweep();
            part.shared.sweep();
        }
    }

    /// How many connections are kept.
    pub fn kept(&self) -> usize {
        let living = self.upstreams.living();
        let parts = living.iter().map(|peer| peer.part(self.worker));
        parts.map(|part| part.kept.lock().len() + part.shared.len()).sum()
    }

    /// Which of the workers it is.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What records go by.
    pub(super) fn now(&self) -> Duration {
        self.upstreams.now()
    }
}

impl Lease {
    /// The request keeps this until its answer has ended.
    pub fn keep(&mut self, admitted: Admitted) {
        self.admitted = Some(admitted);
    }

    /// Whom it is with, for people.
    pub fn upstream(&self) -> Arc<str> {
        Arc::clone(self.flight.part().name())
    }

    /// The answer is whole. If the request is too, the connection is as good as new; an upstream that answered early may
    /// take the rest of a body for the next request.
    pub fn release(self) {
        let Way::Own(mut link) = self.way else { return };
        let is_whole = self.upload.is_none_or(|upload| upload.is_complete())
            && self.sending.is_none_or(|sending| sending.is_over());
        if is_whole && link.rests() {
            self.flight.part().kept.put(link);
        }
    }

    /// The connection of this request alone, if it has one.
    pub(in crate::proxy) fn link(&self) -> Option<&Link> {
        match &self.way {
            Way::Own(link) => Some(link),
            Way::Shared { .. } => None,
        }
    }

    /// The same.
    pub(in crate::proxy) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.way {
            Way::Own(link) => Some(link),
            Way::Shared { .. } => None,
        }
    }

    /// The connection, once it speaks something else.
    pub fn into_other(self) -> Option<(Unlinked, InFlight)> {
        let in_flight = InFlight { _flight: self.flight, _admitted: self.admitted };
        match self.way {
            Way::Own(link) => Some((link.into_other(), in_flight)),
            Way::Shared { .. } => None,
        }
    }
}
