//! Upstreams that are probed: how they stand, and the one who probes them for all workers.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    names,
    peer::{Peer, Upstreams},
    server::Server,
};
use crate::{
    model::HealthCheck,
    probe::{
        Asker, Failure, Target, Way,
        health::{Health, Verdict},
    },
};

/// What an upstream's probes say of it.
#[derive(Debug)]
pub(super) struct Standing {
    peer: Arc<Peer>,
    check: HealthCheck,
    /// Also until the first verdict.
    up: AtomicBool,
    /// Somebody probes it.
    taken: AtomicBool,
}

impl Standing {
    pub(super) fn new(peer: Arc<Peer>, check: HealthCheck) -> Self {
        Self { peer, check, up: AtomicBool::new(true), taken: AtomicBool::new(false) }
    }

    pub(super) fn is_of(&self, server: &Server, check: &HealthCheck) -> bool {
        self.peer.server == *server && self.check == *check
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// True the first time.
    pub(super) fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::Relaxed)
    }

    /// Requests go by it from now on.
    fn set(&self, verdict: Verdict, outcome: &Result<(), Failure>) {
        let server = &self.peer.server;
        match (verdict, outcome) {
            (Verdict::Down, Err(failure)) => log::warn!("upstream {server} is down: {failure}"),
            _ => log::info!("upstream {server} is up"),
        }
        self.up.store(verdict != Verdict::Down, Ordering::Relaxed);
        if verdict == Verdict::Down {
            // Whoever comes back has other connections.
            self.peer.forget();
        }
    }
}

/// Follows the names of upstreams, and probes all that want it, for the life of the process.
pub async fn watch(upstreams: Arc<Upstreams>) {
    tokio::join!(names::follow(Arc::clone(&upstreams)), probe_all(upstreams));
}

async fn probe_all(upstreams: Arc<Upstreams>) {
    loop {
        for standing in upstreams.unprobed().await {
            tokio::spawn(probe(standing));
        }
    }
}

/// Until no configuration has it any more.
async fn probe(standing: Weak<Standing>) {
    let Some(first) = standing.upgrade() else { return };
    let (server, check) = (first.peer.server.clone(), first.check.clone());
    let mut asker = Asker::of_upstream(&check, &server.upstream);
    let target = Target { address: server.address, way: Way::Direct { source: None } };
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drop(first);
    let mut health = Health::new(Instant::now());
    loop {
        ticks.tick().await;
        let outcome = asker.ask(&target).await;
        let Some(standing) = standing.upgrade() else { return };
        if let Err(Failure::Tls(_)) = outcome {
            // Its files may have been renewed.
            asker = Asker::of_upstream(&check, &server.upstream);
        }
        // What this host could not try says nothing of the upstream.
        let result = match &outcome {
            Ok(()) => Ok(()),
            Err(failure) => match failure.presence() {
                Some(presence) => Err(presence),
                None => {
                    log::warn!("upstream {server}: a probe {failure}");
                    continue;
                }
            },
        };
        if let Some(verdict) = health.observe(result, asker.probe(), Instant::now()) {
            standing.set(verdict, &outcome);
        }
    }
}
