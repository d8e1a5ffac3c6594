//! The streams of a client's HTTP/2 connection. Each is a task of its own, counted as long as it lives, and reset if the client takes
//! nothing of its answer: hyper would wait for ever for a window that does not open.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{sync::Notify, time::sleep};

use super::gate::Timer;

/// What was asked for in a poll of a stream, and with what outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Nothing: it waits for what it has to be taken.
    Nothing,
    /// Something of an answer, which came.
    Came,
    /// Something of an answer, which has not come yet.
    Awaited,
}

thread_local! {
    /// By the stream that is polled now: hyper lets nothing through from a body to who polls the stream it belongs to.
    static ASKED: Cell<Asked> = const { Cell::new(Asked::Nothing) };
}

/// How a connection is used.
#[derive(Debug, Default)]
pub(super) struct Use {
    open: AtomicU32,
    begun: AtomicU64,
    first: Notify,
}

/// Runs the streams of a connection.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    used: Arc<Use>,
    /// How long may the client take nothing of an answer.
    stall: Duration,
}

/// One of them.
struct Stream<F> {
    future: Pin<Box<F>>,
    used: Arc<Use>,
    stall: Duration,
    stalled: Timer,
}

/// Notes that something of an answer was asked for.
pub(super) fn note<T>(outcome: Poll<T>) -> Poll<T> {
    ASKED.set(if outcome.is_ready() { Asked::Came } else { Asked::Awaited });
    outcome
}

/// `future`, which makes an answer.
pub(super) async fn noted<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| note(future.as_mut().poll(cx))).await
}

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

impl Streams {
    pub(super) fn new(used: Arc<Use>, stall: Duration) -> Self {
        Self { used, stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let Self { used, stall } = self.clone();
        used.open.fetch_add(1, Ordering::Relaxed);
        if used.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            used.first.notify_one();
        }
        tokio::spawn(Stream { future: Box::pin(future), used, stall, stalled: Timer::default() });
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &mut *self;
        ASKED.set(Asked::Nothing);
        if stream.future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let asked = ASKED.get();
        if asked != Asked::Nothing {
            stream.stalled.disarm();
        }
        if asked != Asked::Awaited && stream.stalled.expired(cx, stream.stall) {
            log::debug!("a client takes nothing of an answer: its stream is reset");
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<F> Drop for Stream<F> {
    fn drop(&mut self) {
        self.used.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::time::{Instant, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const STALL: Duration = Duration::from_millis(200);

    fn streams() -> (Streams, Arc<Use>) {
        let used = Arc::new(Use::default());
        (Streams::new(Arc::clone(&used), STALL), used)
    }

    async fn open(used: &Use, count: u32) {
        while used.open.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_stream_ends_if_what_came_is_not_taken_and_waits_for_what_has_not_come() {
        for (asked, ends) in [(Poll::Ready(()), true), (Poll::Pending, false)] {
            let (streams, used) = streams();
            let mut first = true;
            streams.execute(poll_fn(move |_| {
                if std::mem::take(&mut first) {
                    let _asked = note(asked);
                }
                Poll::<()>::Pending
            }));
            assert_eq!(used.open.load(Ordering::Relaxed), 1);
            let limit = if ends { LONG } else { STALL * 3 };
            assert_eq!(timeout(limit, open(&used, 0)).await.is_ok(), ends, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_unused_and_one_with_an_open_stream_is_not() {
        let (streams, used) = streams();
        assert!(timeout(STALL, used.begins()).await.is_err());
        let start = Instant::now();
        streams.execute(noted(sleep(STALL * 2)));
        used.begins().await;
        timeout(LONG, used.ends(STALL)).await.unwrap();
        assert!(start.elapsed() >= STALL * 3, "{:?}", start.elapsed());
        streams.execute(noted(pending()));
        assert!(timeout(STALL * 3, used.ends(STALL)).await.is_err());
    }
}
