//! The strict gate: reads a client's bytes before hyper does and lets through only requests that can be understood in one way.
//!
//! Bytes are checked where hyper's own read put them; only a head that came in pieces is held back (and copied) until it is
//! whole. In the place of a refused head hyper gets a request that stands for the refusal ([`Refusal`]), and then the end of
//! the stream, so nothing behind a refused head is ever read as a request.

mod chunked;
pub(super) mod fields;
mod framing;
mod head;
mod refusal;
mod timer;

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::framing::{Checked, Framing};
use super::{limits::Limits, tunnel::Switch};

pub use self::refusal::Refusal;
pub(crate) use self::timer::Timer;
pub(super) use self::{chunked::Chunked, head::NO_UPGRADE};

/// How much is read at once while a head comes in pieces.
const PIECE: usize = 4096;

/// A connection whose requests are checked and timed. It reads as the inner one does, with refused heads replaced.
#[derive(Debug)]
pub struct Gate<S> {
    inner: S,
    limits: Arc<Limits>,
    switch: Arc<Switch>,
    framing: Framing,
    /// `passed` bytes that hyper may have, and behind them a piece of a head.
    held: Vec<u8>,
    passed: usize,
    /// Nothing has come yet.
    fresh: bool,
    /// The client has ended its side.
    ended: bool,
    /// What was written is on its way.
    flushed: bool,
    reading: Timer,
    writing: Timer,
}

impl<S> Gate<S> {
    /// At the beginning of a connection.
    pub fn new(inner: S, limits: Arc<Limits>, switch: Arc<Switch>) -> Self {
        Self {
            inner,
            limits,
            switch,
            framing: Framing::new(),
            held: Vec::new(),
            passed: 0,
            fresh: true,
            ended: false,
            flushed: true,
            reading: Timer::default(),
            writing: Timer::default(),
        }
    }

    /// The connection itself, unless the client has ended its side: it may still be sending.
    pub fn into_unended(self) -> Option<S> {
        (!self.ended).then_some(self.inner)
    }

    /// The connection, and what came on it behind the head that asked for another protocol.
    pub fn into_upgraded(self) -> (S, Vec<u8>) {
        (self.inner, self.held)
    }

    /// Hands over what has passed the gate.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.passed.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        self.passed -= count;
    }

    fn refuse(&mut self, refusal: Refusal) {
        log::debug!("request refused by the gate: {refusal:?}");
        self.held.truncate(self.passed);
        self.held.extend_from_slice(refusal.request().as_bytes());
        self.passed = self.held.len();
    }

    /// The limit of the phase in which the client lets us wait.
    fn patience(&self) -> Duration {
        match self.framing {
            Framing::Length(_) | Framing::Chunked(_) => self.limits.body_stall,
            _ if !self.held.is_empty() => self.limits.head,
            _ if self.fresh => self.limits.first_byte,
            _ => self.limits.idle.saturating_sub(self.limits.rest),
        }
    }

    /// Whether hyper, which asks for bytes, has none and owes none: it waits for a request.
    fn is_between(&self) -> bool {
        self.flushed && self.held.is_empty() && matches!(self.framing, Framing::Head(_))
    }

    /// As [`Self::wait`], but while there is no request, hyper is told to go after a moment: its buffers are more than all the
    /// rest of a connection.
    ///
    /// hyper, half-close allowed, reads only when it wants a head or a body: never while an answer is being made.
    fn wait_for_hyper(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        if !self.is_between() {
            return self.wait(cx);
        }
        if self.reading.expired(cx, self.limits.rest.min(self.limits.idle)) {
            self.reading.disarm();
            self.held = Vec::new();
            self.switch.rest();
        }
        Poll::Pending
    }

    /// Pending until the phase's limit; then the end of the stream, or an error within a body.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let patience = self.patience();
        if !self.reading.expired(cx, patience) {
            return Poll::Pending;
        }
        match self.framing {
            Framing::Length(_) | Framing::Chunked(_) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Ready(Ok(Read::End)),
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.writing.bound(cx, self.limits.write_stall, outcome)
    }
}

/// What a read of the inner connection came to.
enum Read {
    Something,
    End,
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads into hyper's buffer and leaves there what may pass.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buf.filled().len();
        if Pin::new(&mut self.inner).poll_read(cx, buf)?.is_pending() {
            return self.wait_for_hyper(cx);
        }
        let new = &mut buf.filled_mut()[before..];
        if new.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(Read::End));
        }
        self.fresh = false;
        self.reading.disarm();
        let Checked { passed, refusal } = self.framing.check(new, &self.limits);
        match (refusal, &self.framing) {
            (Some(refusal), _) => self.refuse(refusal),
            (None, Framing::Head(_) | Framing::Upgrade) => self.held.extend_from_slice(&new[passed..]),
            _ => {}
        }
        buf.set_filled(before + passed);
        Poll::Ready(Ok(Read::Something))
    }

    /// Reads behind the piece of a head that is held, or the first one. Nothing is allocated before something comes.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        if Pin::new(&mut self.inner).poll_read(cx, &mut piece)?.is_pending() {
            return self.wait(cx);
        }
        if piece.filled().is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(Read::End));
        }
        if self.held.is_empty() {
            self.reading.disarm();
        }
        self.fresh = false;
        self.held.extend_from_slice(piece.filled());
        let Checked { passed, refusal } = self.framing.check(&mut self.held, &self.limits);
        self.passed = passed;
        if passed > 0 {
            self.reading.disarm();
        }
        match (refusal, &self.framing) {
            (Some(refusal), _) => self.refuse(refusal),
            (None, Framing::Broken) => self.held.truncate(passed),
            _ => {}
        }
        Poll::Ready(Ok(Read::Something))
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Waits for a whole head, or what stands for a refused one, where nobody reads yet. False: there will be none.
    pub async fn asked(&mut self) -> bool {
        poll_fn(|cx| {
            while self.passed == 0 {
                match ready!(self.read_on(cx)) {
                    Ok(Read::Something) => {}
                    Ok(Read::End) | Err(_) => return Poll::Ready(false),
                }
            }
            Poll::Ready(true)
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 && buf.filled().len() == before {
            if gate.passed > 0 {
                gate.hand_over(buf);
                continue;
            }
            let read = match gate.framing {
                Framing::Refused | Framing::Upgrade => Read::End,
                Framing::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                _ if gate.held.is_empty() => ready!(gate.read_through(cx, buf))?,
                _ => ready!(gate.read_on(cx))?,
            };
            if matches!(read, Read::End) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.flushed = false;
        let outcome = Pin::new(&mut gate.inner).poll_write(cx, bytes);
        gate.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.flushed = false;
        let outcome = Pin::new(&mut gate.inner).poll_write_vectored(cx, slices);
        gate.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.inner).poll_flush(cx);
        gate.flushed = outcome.is_ready();
        gate.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        // hyper is done with it, others are not.
        if gate.switch.is_set() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut gate.inner).poll_shutdown(cx);
        gate.written(cx, outcome)
    }
}
