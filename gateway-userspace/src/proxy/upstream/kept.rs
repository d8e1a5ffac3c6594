//! Connections of HTTP/1.1 that wait for their next request: each worker's apart, so that their lock is never waited for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    heard::Count,
    peer::{Flight, Upstreams},
    shared::Place,
};
use crate::proxy::{
    body::{RequestBody, Upload},
    overload::Admitted,
};

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) heard: Count,
    /// Leave for it, where connections are bounded.
    _line: Option<OwnedSemaphorePermit>,
}

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
    link: Link,
    since: Instant,
}

/// What a request goes by.
#[derive(Debug)]
pub(super) enum Way {
    /// A connection of its own.
    Own(Link),
    /// One that others use as well.
    Shared(Place),
}

/// A connection in use, or a place on one. Dropped, it ends; released, it is kept.
#[derive(Debug)]
pub struct Lease {
    pub(super) way: Way,
    pub(super) flight: Flight,
    /// The request's body, if it has one.
    pub(super) upload: Option<Arc<Upload>>,
    /// Its place among the requests of the worker.
    pub(super) admitted: Option<Admitted>,
}

/// A worker's share in all upstreams.
#[derive(Debug)]
pub struct Pool {
    upstreams: Arc<Upstreams>,
    /// Which of the workers it is.
    pub(super) worker: usize,
}

impl Link {
    pub(super) fn new(sender: SendRequest<RequestBody>, heard: Count) -> Self {
        Self { sender, heard, _line: None }
    }

    /// It has leave for as long as it is there.
    pub(super) fn with(self, line: Option<OwnedSemaphorePermit>) -> Self {
        Self { _line: line, ..self }
    }
}

impl Kept {
    pub(super) fn new(keep: Keep) -> Self {
        Self { idle: Mutex::default(), keep }
    }

    /// The connection used last: the others may grow old and go.
    pub(super) fn take(&self) -> Option<Link> {
        let mut idle = self.lock();
        while let Some(Idle { link, since }) = idle.pop() {
            if since.elapsed() < self.keep.age && link.sender.is_ready() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, link: Link) {
        let mut idle = self.lock();
        if idle.len() < self.keep.most {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn sweep(&self) {
        self.lock().retain(|idle| idle.since.elapsed() < self.keep.age && !idle.link.sender.is_closed());
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
        let Way::Own(link) = self.way else { return };
        let whole = self.upload.is_none_or(|upload| upload.is_complete());
        if whole && !link.sender.is_closed() {
            self.flight.part().kept.put(link);
        }
    }
}
