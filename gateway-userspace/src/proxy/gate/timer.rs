//! A timer that costs nothing while bytes flow.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Armed when something has to be waited for, disarmed by progress. A disarmed timer may still wake its task once.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Timer {
    /// Whether `limit` has passed since the first call after the last [`Self::disarm`]. If not, the task is woken when it has.
    pub(crate) fn expired(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let armed = std::mem::replace(&mut self.armed, true);
        let deadline = || Instant::now() + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline())));
        if !armed {
            sleep.as_mut().reset(deadline());
        }
        matches!(sleep.as_mut().poll(cx), Poll::Ready(()))
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
        self.armed = false;
    }
}
