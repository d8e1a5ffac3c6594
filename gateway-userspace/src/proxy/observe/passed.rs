//! Connections whose bytes nobody here reads: what passed each way, counted and logged at the end, however it comes.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use super::{AccessLog, HostTraffic, Request};
use crate::proxy::{counters::Outcome, worker::Worker};

/// Bytes so far.
#[derive(Debug, Default)]
pub struct Passed {
    /// From the client.
    up: AtomicU64,
    /// To the client.
    down: AtomicU64,
}

impl Passed {
    /// Some more came from the client.
    pub fn add_up(&self, count: usize) {
        self.up.fetch_add(count as u64, Relaxed);
    }

    /// Some more went to the client.
    pub fn add_down(&self, count: usize) {
        self.down.fetch_add(count as u64, Relaxed);
    }

    /// So many in all.
    pub fn set(&self, up: u64, down: u64) {
        self.up.store(up, Relaxed);
        self.down.store(down, Relaxed);
    }

    /// From the client, and to it.
    pub fn both(&self) -> (u64, u64) {
        (self.up.load(Relaxed), self.down.load(Relaxed))
    }

    /// Both ways together: changes with each byte.
    pub fn all(&self) -> u64 {
        let (up, down) = self.both();
        up + down
    }
}

/// A request that became a tunnel. Dropped, it is over.
pub struct Tunnelled {
    request: Request,
    /// What passes.
    pub passed: Passed,
}

impl Tunnelled {
    pub(super) fn new(mut request: Request) -> Self {
        request.is_whole = false;
        request.answered_in = Some(request.began.elapsed());
        Self { request, passed: Passed::default() }
    }

    /// Both sides have ended.
    pub fn ended(&mut self) {
        self.request.is_whole = true;
    }
}

impl fmt::Debug for Tunnelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnelled").field("passed", &self.passed).finish_non_exhaustive()
    }
}

impl Drop for Tunnelled {
    fn drop(&mut self) {
        // Then the request itself is dropped.
        self.request.passed = Some(self.passed.both());
    }
}

/// A connection that is passed through. Dropped, it is over.
pub struct Through {
    worker: Arc<Worker>,
    log: Option<Arc<AccessLog>>,
    began: Instant,
    pub(super) time: SystemTime,
    pub(super) client: IpAddr,
    /// As the client asked for it.
    pub(super) name: String,
    pub(super) host: Arc<HostTraffic>,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) outcome: Outcome,
    pub(super) is_whole: bool,
    /// What passes.
    pub passed: Passed,
}

impl Through {
    /// At its beginning; `log` has a line of it at its end.
    pub fn begin(
        worker: &Arc<Worker>,
        log: Option<&Arc<AccessLog>>,
        client: IpAddr,
        name: String,
        host: Arc<HostTraffic>,
    ) -> Self {
        Self {
            worker: Arc::clone(worker),
            log: log.cloned(),
            began: Instant::now(),
            time: SystemTime::now(),
            client,
            name,
            host,
            upstream: None,
            outcome: Outcome::UpstreamFailed,
            is_whole: false,
            passed: Passed::default(),
        }
    }

    /// What became of it, once that is known.
    pub fn found(&mut self, outcome: Outcome, upstream: Option<Arc<str>>) {
        self.worker.counters.count(outcome);
        (self.outcome, self.upstream) = (outcome, upstream);
    }

    /// Both sides have ended.
    pub fn ended(&mut self) {
        self.is_whole = true;
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        let worker = self.worker.pool.worker();
        let (up, down) = self.passed.both();
        self.host.count_passed(worker, up, down);
        if let Some(log) = &self.log {
            log.note_passed(worker, self, self.began.elapsed());
        }
    }
}
