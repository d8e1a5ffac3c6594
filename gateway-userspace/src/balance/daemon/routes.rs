//! Routes and neighbours, followed by the kernel's events; what comes in a burst is done once.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Daemon, Message};
use crate::{
    balance::ways::{self, Found},
    model::{InstanceName, Model},
    net,
};

/// From the first event of a burst to what is done about it: a routing daemon changes thousands of routes at once.
const TOGETHER: Duration = Duration::from_millis(50);
/// Routes are read no more than this part of the time.
const SHARE: u32 = 10;

/// What is to be done soon, about all that has happened until then.
#[derive(Debug, Default)]
pub(super) struct Soon {
    routes: Option<Instant>,
    /// Not before that: reading them took its time.
    rest: Option<Instant>,
    /// They are being read.
    reading: bool,
    neighbours: Option<Instant>,
    tables: Option<Instant>,
    everything: Option<Instant>,
}

/// The routes to the instances, as they were read for a file.
#[derive(Debug)]
pub(super) struct Read {
    model: Arc<Model>,
    found: Result<Found, net::Error>,
    took: Duration,
}

impl Soon {
    /// Routes, rules or addresses have changed.
    pub(super) fn routes(&mut self, now: Instant) {
        let due = now + TOGETHER;
        self.routes.get_or_insert(self.rest.map_or(due, |rest| rest.max(due)));
    }

    /// A neighbour's entry is gone.
    pub(super) fn neighbours(&mut self, now: Instant) {
        self.neighbours.get_or_insert(now + TOGETHER);
    }

    /// Ways have changed.
    pub(super) fn tables(&mut self, now: Instant) {
        self.tables.get_or_insert(now + TOGETHER);
    }

    /// Events were lost.
    pub(super) fn everything(&mut self, now: Instant) {
        self.everything.get_or_insert(now + TOGETHER);
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let routes = self.routes.filter(|_| !self.reading);
        [routes, self.neighbours, self.tables, self.everything].into_iter().flatten().min()
    }

    /// Whether reading the routes is due; then that has begun.
    fn begin_reading(&mut self, now: Instant) -> bool {
        let begins = !self.reading && take(&mut self.routes, now);
        self.reading |= begins;
        begins
    }

    fn has_read(&mut self, took: Duration, now: Instant) {
        self.reading = false;
        self.rest = Some(now + took * SHARE);
    }
}

fn take(due: &mut Option<Instant>, now: Instant) -> bool {
    due.take_if(|due| *due <= now).is_some()
}

impl Daemon<'_> {
    /// Does what is due.
    pub(super) async fn do_what_is_due(&mut self) {
        let now = Instant::now();
        if take(&mut self.soon.everything, now) {
            self.catch_up().await;
        }
        if self.soon.begin_reading(now) {
            self.read_routes();
        }
        if take(&mut self.soon.neighbours, now) {
            self.ask_neighbours().await;
        }
        if take(&mut self.soon.tables, now) {
            self.apply_or_retry();
        }
    }

    /// In a task of its own, for a thousand instances take a while; it ends as [`Message::Ways`].
    fn read_routes(&self) {
        let (netlink, outbox) = (Arc::clone(&self.netlink), self.outbox.clone());
        let model = Arc::clone(self.state.model());
        let links: Vec<_> = self.ports.iter().map(|port| port.link.clone()).collect();
        let local = self.local.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let found = ways::find(&netlink, &model, &links, local.as_ref()).await;
            let read = Read { model, found, took: begun.elapsed() };
            // Where nobody takes it, the balancer is at its end.
            let _ = outbox.send(Message::Ways(Box::new(read))).await;
        });
    }

    /// Takes up the routes that were read.
    pub(super) async fn follow_routes(&mut self, read: Read) {
        let Read { model, found, took } = read;
        let now = Instant::now();
        self.soon.has_read(took, now);
        if !Arc::ptr_eq(&model, self.state.model()) {
            // The file has changed meanwhile.
            return self.soon.routes(now);
        }
        let astray = match found {
            Ok(found) => {
                log::debug!("the routes to the instances were read in {took:?}");
                self.note_lost(lost(&model, &found, self.local.as_ref()), &found);
                let before = self.wanted();
                if self.state.reroute(found.hops) {
                    log::info!("the routes to the instances have changed");
                    self.apply_or_retry();
                    self.follow_probes();
                }
                if self.wanted() != before {
                    self.ask_neighbours().await;
                }
                found.unreachable.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Err(error) => format!("{error:#}"),
        };
        if astray != self.astray && !astray.is_empty() {
            log::warn!("{astray}; until then packets go the way they went");
        }
        self.astray = astray;
    }

    /// One of several addresses of an instance may be lost without a word otherwise.
    fn note_lost(&mut self, lost: BTreeSet<(InstanceName, IpAddr)>, found: &Found) {
        for (name, dip) in lost.difference(&self.lost) {
            let has_other = found.hops.keys().any(|(one, _)| one == name);
            if has_other && self.state.way(name, *dip).is_some() {
                log::warn!(
                    "there is no route to {dip} of {name} any more; packets to it go the way they went"
                );
            }
        }
        self.lost = lost;
    }

    fn wanted(&self) -> Vec<BTreeSet<IpAddr>> {
        self.ports.iter().map(|port| self.state.wanted(port.link.index)).collect()
    }
}

/// Addresses to which no route of ours leads.
fn lost(model: &Model, found: &Found, local: Option<&InstanceName>) -> BTreeSet<(InstanceName, IpAddr)> {
    let instances = model.instances.iter().filter(|one| Some(&one.name) != local);
    let dips = instances.flat_map(|one| one.dip.iter().map(|dip| (one.name.clone(), *dip)));
    dips.filter(|key| !found.hops.contains_key(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_read_once_and_the_next_one_after_a_rest() {
        let start = Instant::now();
        let mut soon = Soon::default();
        for n in 0..1000 {
            soon.routes(start + Duration::from_micros(n));
        }
        assert_eq!(soon.next(), Some(start + TOGETHER));
        assert!(!soon.begin_reading(start));
        assert!(soon.begin_reading(start + TOGETHER));
        soon.routes(start + TOGETHER);
        assert_eq!(soon.next(), None, "while they are read");
        let end = start + 2 * TOGETHER;
        soon.has_read(Duration::from_millis(50), end);
        assert_eq!(soon.next(), Some(start + 2 * TOGETHER), "what came meanwhile");
        assert!(soon.begin_reading(end));
        soon.has_read(Duration::from_millis(50), end);
        soon.routes(end);
        assert_eq!(soon.next(), Some(end + Duration::from_millis(500)), "no more than a tenth of the time");
    }
}
