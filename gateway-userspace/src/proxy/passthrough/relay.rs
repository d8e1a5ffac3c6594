//! Bytes both ways between two connections, until both have ended.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::way::{Failed, Way};
use crate::proxy::{limits::Limits, observe::Passed};

/// How it ended.
#[derive(Debug)]
pub(super) struct End {
    /// If not well.
    pub(super) error: Option<io::Error>,
    /// The upstream has gone without a word, though the client was there.
    pub(super) upstream_was_silent: bool,
}

/// What became of both directions so far.
#[derive(Debug, Default)]
struct Ends {
    up: Option<Result<(), Failed>>,
    down: Option<Result<(), Failed>>,
}

/// Passes bytes on both ways. Each side's end is passed on by itself, and a reset as a reset: who is left must not take a part for
/// the whole.
///
/// `passed`: what has passed so far, in front of this.
pub(super) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    passed: &Passed,
    limits: &Limits,
) -> End {
    let (up_before, down_before) = passed.both();
    let (mut up, mut down) = (Way::default(), Way::default());
    let mut ends = Ends::default();
    let in_time = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_upstream, mut to_upstream) = upstream.split();
        let mut patience = Patience { last: Instant::now(), moved: 0 };
        let mut sleep = pin!(sleep_until(patience.last + limits.tunnel_idle));
        poll_fn(|cx| {
            if ends.up.is_none()
                && let Poll::Ready(end) = up.poll(cx, &mut from_client, &mut to_upstream)
            {
                ends.up = Some(end);
            }
            if ends.down.is_none()
                && let Poll::Ready(end) = down.poll(cx, &mut from_upstream, &mut to_client)
            {
                ends.down = Some(end);
            }
            passed.set(up_before + up.moved(), down_before + down.moved());
            if ends.are_over() {
                return Poll::Ready(true);
            }
            let half = ends.up.is_some() || ends.down.is_some();
            let limit = if half { limits.tunnel_half_closed } else { limits.tunnel_idle };
            patience.poll(cx, sleep.as_mut(), up.moved() + down.moved(), limit).map(|()| false)
        })
        .await
    };
    let upstream_was_silent = down.moved() == 0 && ends.up.is_none();
    for (end, other) in [(&ends.up, &*upstream), (&ends.down, &*client)] {
        if let Some(Err(Failed::Source(_))) = end {
            let _reset = SockRef::from(other).set_linger(Some(Duration::ZERO)).is_ok();
        }
    }
    let failed = [ends.up, ends.down].into_iter().flatten().find_map(Result::err);
    let error = match failed {
        Some(Failed::Source(error) | Failed::Destination(error)) => Some(error),
        None => (!in_time).then(|| io::ErrorKind::TimedOut.into()),
    };
    End { error, upstream_was_silent }
}

impl Ends {
    /// A side that has failed has nothing to say any more; one that only takes nothing may have.
    fn are_over(&self) -> bool {
        let failed = |end: &Option<_>| matches!(end, Some(Err(Failed::Source(_))));
        failed(&self.up) || failed(&self.down) || (self.up.is_some() && self.down.is_some())
    }
}

/// For how long nothing has moved.
struct Patience {
    last: Instant,
    moved: u64,
}

impl Patience {
    /// Ready when nothing has moved for `limit`. The timer is not touched while something does: it is early then, and looks again.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Sleep>,
        moved: u64,
        limit: Duration,
    ) -> Poll<()> {
        if moved != self.moved {
            (self.last, self.moved) = (Instant::now(), moved);
        }
        let end = self.last + limit;
        // The limit may be a shorter one than before.
        if sleep.deadline() > end {
            sleep.as_mut().reset(end);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
        Poll::Pending
    }
}
