//! Requests by name, status and time. Each worker counts for itself; whoever reads adds up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;

use crate::model::{HostPattern, Role};

/// Upper bounds of the buckets of durations, in microseconds: what Prometheus' clients have by default, and 1 ms.
pub const BOUNDS: [u64; 12] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// The classes of status codes, `1xx` to `5xx`.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All names that are served.
#[derive(Debug)]
pub struct Traffic {
    hosts: Mutex<BTreeMap<(Role, String), Arc<HostTraffic>>>,
    workers: usize,
}

/// What was asked of one configured name.
#[derive(Debug)]
pub struct HostTraffic {
    /// Whose name it is.
    pub role: Role,
    /// As it is configured: `*.api.contoso.com` for a wildcard.
    pub host: String,
    /// One a worker.
    parts: Box<[Part]>,
}

/// A worker's counts, as long as the cache's lines that are fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
    classes: [AtomicU64; CLASSES.len()],
    /// The last one: longer than all bounds.
    durations: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
    sent: AtomicU64,
    /// Connections whose bytes passed unread, and have ended.
    passed: AtomicU64,
    /// From clients.
    up: AtomicU64,
    /// To clients.
    down: AtomicU64,
}

/// The sum over workers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Answers by class.
    pub classes: [u64; CLASSES.len()],
    /// Answers by duration.
    pub durations: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub microseconds: u64,
    /// Bytes of bodies.
    pub sent: u64,
    /// WebSocket's and passed-through connections that have ended.
    pub passed: u64,
    /// What came on them from clients.
    pub up: u64,
    /// What went to clients.
    pub down: u64,
}

/// The place of a status among [`CLASSES`].
pub fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

impl Traffic {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self { hosts: Mutex::default(), workers: workers.max(1) }
    }

    /// The counts of a name, the same ones for every configuration that has it.
    pub fn host(&self, role: Role, pattern: &HostPattern) -> Arc<HostTraffic> {
        let host = pattern.to_string();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = || (0..self.workers).map(|_| Part::default()).collect();
        let entry = hosts.entry((role, host.clone()));
        Arc::clone(entry.or_insert_with(|| Arc::new(HostTraffic { role, host, parts: parts() })))
    }

    /// Forgets names that no configuration has any more.
    pub fn forget_what_is_gone(&self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
    }

    /// All names, in order.
    pub fn hosts(&self) -> Vec<Arc<HostTraffic>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.values().map(Arc::clone).collect()
    }
}

impl HostTraffic {
    /// One more answer. Of whichever worker is out of range nothing is counted.
    pub fn count(&self, worker: usize, status: StatusCode, took: Duration, sent: u64) {
        let Some(part) = self.parts.get(worker) else { return };
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < microseconds);
        part.classes[class(status)].fetch_add(1, Relaxed);
        part.durations[bucket].fetch_add(1, Relaxed);
        part.microseconds.fetch_add(microseconds, Relaxed);
        part.sent.fetch_add(sent, Relaxed);
    }

    /// One more connection has ended on which these bytes passed, from the client and to it.
    pub fn count_passed(&self, worker: usize, up: u64, down: u64) {
        let Some(part) = self.parts.get(worker) else { return };
        part.passed.fetch_add(1, Relaxed);
        part.up.fetch_add(up, Relaxed);
        part.down.fetch_add(down, Relaxed);
    }

    /// Of all workers.
    pub fn sum(&self) -> Sum {
        self.parts.iter().fold(Sum::default(), |mut sum, part| {
            for (all, one) in sum.classes.iter_mut().zip(&part.classes) {
                *all += one.load(Relaxed);
            }
            for (all, one) in sum.durations.iter_mut().zip(&part.durations) {
                *all += one.load(Relaxed);
            }
            sum.microseconds += part.microseconds.load(Relaxed);
            sum.sent += part.sent.load(Relaxed);
            sum.passed += part.passed.load(Relaxed);
            sum.up += part.up.load(Relaxed);
            sum.down += part.down.load(Relaxed);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.into())
    }

    #[test]
    fn a_bound_is_the_last_of_its_bucket() {
        let host = Traffic::new(2).host(Role::Gateway, &exact("a"));
        host.count(0, StatusCode::OK, Duration::from_micros(1_000), 10);
        host.count(1, StatusCode::NOT_FOUND, Duration::from_micros(1_001), 5);
        host.count(1, StatusCode::BAD_GATEWAY, Duration::from_secs(60), 0);
        host.count(2, StatusCode::OK, Duration::ZERO, 1);
        host.count_passed(0, 1, 20);
        host.count_passed(1, 3, 40);
        host.count_passed(2, 1, 1);
        let sum = host.sum();
        assert_eq!(sum.classes, [0, 1, 0, 1, 1]);
        assert_eq!((sum.durations[0], sum.durations[1], sum.durations[BOUNDS.len()]), (1, 1, 1));
        assert_eq!((sum.microseconds, sum.sent), (60_002_001, 15));
        assert_eq!((sum.passed, sum.up, sum.down), (2, 4, 60));
    }

    #[test]
    fn counts_outlive_a_configuration_and_not_their_name() {
        let traffic = Traffic::new(1);
        let first = traffic.host(Role::Gateway, &exact("a"));
        assert!(Arc::ptr_eq(&first, &traffic.host(Role::Gateway, &exact("a"))));
        drop(first);
        let kept = traffic.host(Role::Portal, &exact("b"));
        traffic.forget_what_is_gone();
        let names: Vec<_> = traffic.hosts().iter().map(|host| host.host.clone()).collect();
        assert_eq!(names, [kept.host.as_str()]);
    }
}
