//! How a connection is used: it ends when nobody has asked for anything for a while.

use std::{future::poll_fn, task::Poll, time::Duration};

use tokio::time::sleep;

use super::handle::Shared;

/// A connection, of which is seen whether it is used.
pub(super) struct Use(pub(super) Shared);

impl Use {
    /// Waits for the first request, in the task of the connection, which is woken by what comes.
    pub(super) async fn begins(&self) {
        poll_fn(|_| match self.0.lock().used() {
            (0, _) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Waits until there has been no request for `limit`, or up to a quarter more: so nothing has to be done with each.
    pub(super) async fn ends(&self, limit: Duration) {
        let (mut quiet, (mut before, _)) = (0, self.0.lock().used());
        // The first quarter may have had one at its beginning.
        while quiet < 5 {
            sleep(limit / 4).await;
            let (now, is_open) = self.0.lock().used();
            quiet = if is_open || now != before { 0 } else { quiet + 1 };
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, timeout};

    use super::{
        super::{
            core::Core,
            head::Fields,
            hpack::{Field, Name},
        },
        *,
    };
    use crate::proxy::limits::Limits;

    const LONG: Duration = Duration::from_secs(60);
    const QUIET: Duration = Duration::from_millis(200);

    fn ask(shared: &Shared, id: u32) {
        let mut fields = Fields::default();
        for (name, value) in [(":method", "GET"), (":scheme", "https"), (":path", "/")] {
            fields.take(Field::new(Name::of(name.as_bytes()), value.as_bytes()), 1000);
        }
        assert!(shared.lock().hear_fields(id, fields, true, false).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_unused_and_one_with_an_open_stream_is_not() {
        let shared = Shared::new(Core::new(Arc::new(Limits::default())));
        let used = Use(shared.clone());
        assert!(timeout(QUIET, used.begins()).await.is_err());
        let start = Instant::now();
        ask(&shared, 1);
        let halves = shared.halves(1);
        tokio::spawn(async move {
            sleep(QUIET * 2).await;
            drop(halves);
        });
        used.begins().await;
        timeout(LONG, used.ends(QUIET)).await.unwrap();
        assert!(start.elapsed() >= QUIET * 3, "{:?}", start.elapsed());
        ask(&shared, 3);
        let _halves = shared.halves(3);
        assert!(timeout(QUIET * 3, used.ends(QUIET)).await.is_err());
    }
}
