//! A timer that costs nothing while bytes flow.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Armed when something has to be waited for, disarmed by progress. It is not set anew each time: one that was set before comes early,
/// wakes its task once in vain, and is set to what is left then.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// While it is armed.
    deadline: Option<Instant>,
}

impl Timer {
    /// Whether `limit` has passed since the first call after the last [`Self::disarm`]. If not, the task is woken when it has.
    pub(crate) fn expired(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }

    /// `outcome`, or [`io::ErrorKind::TimedOut`] if it has been pending for `limit`.
    pub(crate) fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.disarm();
        } else if self.expired(cx, limit) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }

    /// There was progress.
    pub(crate) fn disarm(&mut self) {
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(30);

    async fn expires(timer: &mut Timer, limit: Duration) {
        poll_fn(|cx| if timer.expired(cx, limit) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Armed, and not waited for.
    async fn arm(timer: &mut Timer, limit: Duration) {
        assert!(!poll_fn(|cx| Poll::Ready(timer.expired(cx, limit))).await);
    }

    #[tokio::test]
    async fn it_takes_its_limit_whether_it_was_set_to_more_or_to_less_before() {
        for before in [Duration::from_millis(1), LIMIT, Duration::from_secs(3600)] {
            let mut timer = Timer::default();
            arm(&mut timer, before).await;
            timer.disarm();
            let begun = Instant::now();
            expires(&mut timer, LIMIT).await;
            assert!(begun.elapsed() >= LIMIT, "{before:?}");
        }
    }

    #[tokio::test]
    async fn without_progress_it_goes_on() {
        let mut timer = Timer::default();
        let begun = Instant::now();
        arm(&mut timer, LIMIT).await;
        // The limit is that of the first call.
        expires(&mut timer, Duration::from_secs(3600)).await;
        assert!(begun.elapsed() >= LIMIT);
    }
}
