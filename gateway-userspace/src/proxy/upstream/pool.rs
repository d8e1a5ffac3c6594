//! Kept connections: one pool a worker, so that its lock is never waited for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::heard::Count;
use crate::{
    model::Upstream,
    proxy::body::{RequestBody, Upload},
};

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) heard: Count,
}

/// Connections that wait for their next request.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<HashMap<Upstream, Vec<Idle>>>,
    age: Duration,
    most: usize,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// A connection in use. Dropped, it ends; released, it is kept.
#[derive(Debug)]
pub struct Lease {
    pub(super) link: Link,
    pub(super) pool: Arc<Pool>,
    pub(super) upstream: Upstream,
    /// The request's body, if it has one.
    pub(super) upload: Option<Arc<Upload>>,
}

impl Pool {
    /// Connections are kept for `age`, at most `most` to an upstream.
    pub fn new(age: Duration, most: usize) -> Self {
        Self { idle: Mutex::default(), age, most }
    }

    /// The connection used last: the others may grow old and go.
    pub(super) fn take(&self, upstream: &Upstream) -> Option<Link> {
        let mut idle = self.lock();
        let links = idle.get_mut(upstream)?;
        while let Some(Idle { link, since }) = links.pop() {
            if since.elapsed() < self.age && link.sender.is_ready() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, upstream: Upstream, link: Link) {
        let mut idle = self.lock();
        let links = idle.entry(upstream).or_default();
        if links.len() < self.most {
            links.push(Idle { link, since: Instant::now() });
        }
    }

    /// Ends connections that were not used for too long or that their upstream has ended.
    pub fn sweep(&self) {
        self.lock().retain(|_, links| {
            links.retain(|idle| idle.since.elapsed() < self.age && !idle.link.sender.is_closed());
            !links.is_empty()
        });
    }

    /// How many connections are kept.
    pub fn kept(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Upstream, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The answer is whole. If the request is too, the connection is as good as new; an upstream that answered early may
    /// take the rest of a body for the next request.
    pub fn release(self) {
        let whole = self.upload.is_none_or(|upload| upload.is_complete());
        if whole && !self.link.sender.is_closed() {
            self.pool.put(self.upstream, self.link);
        }
    }
}
