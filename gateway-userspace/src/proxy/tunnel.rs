//! What a connection becomes once client and upstream have agreed on another protocol: bytes both ways, each side's end passed on.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    select,
    time::sleep,
};

use super::{
    limits::Limits,
    observe::{Passed, Tunnelled},
    upstream::{InFlight, Unlinked},
};

/// The upstream's side, which counts as a request in flight until it ends.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Unlinked,
    _in_flight: InFlight,
}

impl Tunnel {
    pub(super) fn new(upstream: Unlinked, in_flight: InFlight) -> Self {
        Self { upstream, _in_flight: in_flight }
    }

    /// Passes bytes until both sides have ended, or none came either way for too long. `early`: what the client sent while it
    /// waited.
    pub(super) async fn run<S>(mut self, mut seen: Tunnelled, client: S, early: Vec<u8>, limits: &Limits)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let upstream = &mut self.upstream;
        let passed = &seen.passed;
        passed.add_up(early.len());
        let mut client = Counted { inner: client, passed };
        let pass = async {
            upstream.write_all(&early).await?;
            drop(early);
            copy_bidirectional(&mut client, upstream).await.map(|_| ())
        };
        let outcome = select! {
            outcome = pass => outcome,
            () = unused(passed, limits.tunnel_idle) => Err(io::ErrorKind::TimedOut.into()),
        };
        match outcome {
            Ok(()) => seen.ended(),
            Err(error) => log::debug!("upgraded connection: {error}"),
        }
    }
}

/// Waits until nothing has moved for `limit`, or up to a quarter more: so nothing has to be done with each byte.
async fn unused(passed: &Passed, limit: Duration) {
    let (mut quiet, mut before) = (0, 0);
    while quiet < 5 {
        sleep(limit / 4).await;
        let now = passed.all();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

/// A side of which is counted what goes in and out.
struct Counted<'p, S> {
    inner: S,
    passed: &'p Passed,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.passed.add_up(buf.filled().len() - before);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = outcome {
            self.passed.add_down(count);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
