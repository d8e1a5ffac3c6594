//! How a connection is used: it ends when nobody has asked for anything for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

/// What a connection's streams are.
#[derive(Debug, Default)]
pub(super) struct Use {
    open: AtomicU32,
    begun: AtomicU64,
    first: Notify,
}

/// A stream, which counts as long as this is there.
#[derive(Debug)]
pub(super) struct Open(Arc<Use>);

impl Use {
    /// Waits for the first request.
    pub(super) async fn begins(&self) {
        while self.begun.load(Ordering::Relaxed) == 0 {
            self.first.notified().await;
        }
    }

    /// Waits until there has been no request for `limit`, or up to a quarter more: so nothing has to be done with each.
    pub(super) async fn ends(&self, limit: Duration) {
        let (mut quiet, mut before) = (0, self.begun.load(Ordering::Relaxed));
        // The first quarter may have had one at its beginning.
        while quiet < 5 {
            sleep(limit / 4).await;
            let now = self.begun.load(Ordering::Relaxed);
            let is_used = now != before || self.open.load(Ordering::Relaxed) > 0;
            quiet = if is_used { 0 } else { quiet + 1 };
            before = now;
        }
    }
}

impl Open {
    pub(super) fn new(used: Arc<Use>) -> Self {
        used.open.fetch_add(1, Ordering::Relaxed);
        if used.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            used.first.notify_one();
        }
        Self(used)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const QUIET: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_connection_without_requests_is_unused_and_one_with_an_open_stream_is_not() {
        let used = Arc::new(Use::default());
        assert!(timeout(QUIET, used.begins()).await.is_err());
        let start = Instant::now();
        let open = Open::new(Arc::clone(&used));
        tokio::spawn(async move {
            sleep(QUIET * 2).await;
            drop(open);
        });
        used.begins().await;
        timeout(LONG, used.ends(QUIET)).await.unwrap();
        assert!(start.elapsed() >= QUIET * 3, "{:?}", start.elapsed());
        let _open = Open::new(Arc::clone(&used));
        assert!(timeout(QUIET * 3, used.ends(QUIET)).await.is_err());
    }
}
