//! The gate of HTTP/2: times a client's frames and ends a connection on which it does what no client needs to. What frames say is
//! h2's to judge, and requests that h2 lets through are [judged](super::fields) one by one.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    super::limits::Limits,
    frames::{Flood, Frames, HEADER, Phase},
    timer::Timer,
};

/// A frame that no client may send (DATA of stream 0): h2 answers it with GOAWAY and the end of the connection.
const IMPOSSIBLE: [u8; HEADER] = [0; HEADER];

/// What is read at once where no body is on its way. TLS clears what it is given to read into, and h2 gives it 8 KiB, which a
/// connection that hardly asks anything would never need.
const LITTLE: usize = 1024;

/// A connection whose frames are timed.
#[derive(Debug)]
pub struct Http2Gate<S> {
    inner: S,
    limits: Arc<Limits>,
    frames: Frames,
    /// Nothing more is read.
    shut: bool,
    /// The client has ended its side.
    ended: bool,
    reading: Timer,
    writing: Timer,
}

impl<S> Http2Gate<S> {
    /// At the beginning of a connection.
    pub fn new(inner: S, limits: Arc<Limits>) -> Self {
        Self {
            inner,
            limits,
            frames: Frames::new(Instant::now().into_std()),
            shut: false,
            ended: false,
            reading: Timer::default(),
            writing: Timer::default(),
        }
    }

    /// The connection itself, unless the client has ended its side: it may still be sending.
    pub fn into_unended(self) -> Option<S> {
        (!self.ended).then_some(self.inner)
    }

    /// The limit of the phase in which the client lets us wait. None between frames: whether a connection is used is known where
    /// its requests are.
    fn patience(&self) -> Option<Duration> {
        match self.frames.phase() {
            Phase::Fresh => Some(self.limits.first_byte),
            Phase::Within => Some(self.limits.head),
            Phase::Body => Some(self.limits.body_stall),
            Phase::Between => None,
        }
    }

    /// Pending until the phase's limit, then the end of the stream.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.patience() {
            Some(patience) if self.reading.expired(cx, patience) => {
                self.shut = true;
                Poll::Ready(Ok(()))
            }
            Some(_) => Poll::Pending,
            None => {
                self.reading.disarm();
                Poll::Pending
            }
        }
    }

    /// Looks at what was read.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let completed = self.frames.completed();
        let new = &mut buf.filled_mut()[before..];
        self.ended = new.is_empty();
        match self.frames.advance(new, || Instant::now().into_std()) {
            Ok(()) => {
                // What trickles is timed from its beginning, but a body may.
                if self.frames.completed() != completed || self.frames.phase() == Phase::Body {
                    self.reading.disarm();
                }
                Ok(())
            }
            Err(Flood(begun)) => {
                log::debug!("a client's frames carry nothing: its connection is ended");
                self.shut = true;
                let begun = begun.ok_or(io::ErrorKind::InvalidData)?;
                new[begun..begun + HEADER].copy_from_slice(&IMPOSSIBLE);
                buf.set_filled(before + begun + HEADER);
                Ok(())
            }
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.writing.bound(cx, self.limits.write_stall, outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http2Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.shut {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let most =
            if gate.frames.phase() == Phase::Body { buf.remaining() } else { LITTLE.min(buf.remaining()) };
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(most));
        let read = Pin::new(&mut gate.inner).poll_read(cx, &mut some)?;
        let count = some.filled().len();
        buf.advance(count);
        match read {
            Poll::Pending => gate.wait(cx),
            Poll::Ready(()) => Poll::Ready(gate.look(buf, before)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http2Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.inner).poll_write(cx, bytes);
        gate.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.inner).poll_write_vectored(cx, slices);
        gate.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.inner).poll_flush(cx);
        gate.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.inner).poll_shutdown(cx);
        gate.written(cx, outcome)
    }
}
