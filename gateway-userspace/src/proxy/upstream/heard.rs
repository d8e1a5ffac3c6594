//! Counts what an upstream says, so that a request is repeated only if nothing of an answer was heard, and ends a connection of
//! which the upstream takes nothing: hyper would wait for ever, even behind an answer.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::gate::Timer;

/// Bytes heard on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that counts, and fails if a write stalls.
#[derive(Debug)]
pub(super) struct Heard<S> {
    inner: S,
    count: Count,
    stall: Duration,
    writing: Timer,
}

impl<S> Heard<S> {
    /// `stall`: how long may the upstream take no byte.
    pub(super) fn new(inner: S, stall: Duration) -> (Self, Count) {
        let count = Count::default();
        (Self { inner, count: count.clone(), stall, writing: Timer::default() }, count)
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.writing.bound(cx, self.stall, outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.count.0.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let heard = self.get_mut();
        let outcome = Pin::new(&mut heard.inner).poll_write(cx, bytes);
        heard.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let heard = self.get_mut();
        let outcome = Pin::new(&mut heard.inner).poll_write_vectored(cx, slices);
        heard.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let heard = self.get_mut();
        let outcome = Pin::new(&mut heard.inner).poll_flush(cx);
        heard.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let heard = self.get_mut();
        let outcome = Pin::new(&mut heard.inner).poll_shutdown(cx);
        heard.written(cx, outcome)
    }
}
