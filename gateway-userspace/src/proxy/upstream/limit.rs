//! How much one upstream gets at once, of all workers together, and how many requests may wait for their turn.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::server::Server;
use crate::model::UpstreamLimits;

/// An upstream's places.
#[derive(Debug)]
pub(super) struct Bound {
    server: Server,
    limits: UpstreamLimits,
    places: Arc<Semaphore>,
    /// Of connections, if they are bounded.
    lines: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
}

/// No place came free, or too many wait for one.
#[derive(Debug)]
pub(super) struct Busy;

/// One that waits.
struct Waiting<'b>(&'b AtomicUsize);

impl Bound {
    pub(super) fn new(server: Server, limits: UpstreamLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.requests.into()));
        let lines = limits.connections.map(|most| Arc::new(Semaphore::new(most.into())));
        Self { server, limits, places, lines, waiting: AtomicUsize::new(0) }
    }

    pub(super) fn is_of(&self, server: &Server, limits: &UpstreamLimits) -> bool {
        self.server == *server && self.limits == *limits
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Leave for one more connection, if it takes that.
    pub(super) fn line(&self) -> Result<Option<OwnedSemaphorePermit>, Busy> {
        let Some(lines) = &self.lines else { return Ok(None) };
        Arc::clone(lines).try_acquire_owned().map(Some).map_err(|_| Busy)
    }

    /// A place, at once or after a wait.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, Busy> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::new(&self.waiting, self.limits.pending)?;
        let place = timeout(self.limits.wait, Arc::clone(&self.places).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Busy)
    }
}

impl<'b> Waiting<'b> {
    fn new(waiting: &'b AtomicUsize, most: u16) -> Result<Self, Busy> {
        let one = Self(waiting);
        match waiting.fetch_add(1, Ordering::Relaxed) < usize::from(most) {
            true => Ok(one),
            false => Err(Busy),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Upstream, UpstreamScheme};

    fn bound(requests: u16, pending: u16, wait: Duration) -> Bound {
        let address = ([10, 0, 1, 20], 80).into();
        let server = Server { upstream: Upstream::at(UpstreamScheme::Http, address), address };
        Bound::new(server, UpstreamLimits { requests, connections: None, pending, wait })
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_and_gets_the_next() {
        let bound = bound(1, 1, Duration::from_secs(60));
        let place = bound.enter().await.unwrap();
        assert!(bound.is_full());
        let (second, third) = tokio::join!(bound.enter(), async {
            let third = bound.enter().await;
            drop(place);
            third
        });
        assert!(second.is_ok());
        assert!(third.is_err(), "one may wait, not two");
        drop(second);
        assert!(!bound.is_full());
        assert_eq!(bound.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_longer_than_the_limit() {
        let bound = bound(1, 1, Duration::from_millis(1));
        let _place = bound.enter().await.unwrap();
        assert!(bound.enter().await.is_err());
        assert!(bound.enter().await.is_err(), "the one before waits no more");
    }
}
