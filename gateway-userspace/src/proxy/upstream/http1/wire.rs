//! The bytes of a connection. An answer is read and a request's body written at the same time, in two tasks of one thread: each
//! has the connection for a moment.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::proxy::gate::Timer;

/// A connection to an upstream.
#[derive(Debug)]
pub(in crate::proxy::upstream) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One that two may use.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    stream: Stream,
    /// How long may the upstream take no byte.
    stall: Duration,
    writing: Timer,
    /// Why nothing more is to be expected of the answer.
    broken: Option<io::ErrorKind>,
    /// Who reads, while somebody else writes.
    reader: Option<Waker>,
}

/// A connection that speaks something else from here on, and what came of that already.
#[derive(Debug)]
pub struct Unlinked {
    wire: Wire,
    early: BytesMut,
}

impl Wire {
    pub(super) fn new(stream: Stream, stall: Duration) -> Self {
        let writing = Timer::default();
        Self(Arc::new(Mutex::new(Shared { stream, stall, writing, broken: None, reader: None })))
    }

    /// Waits for more, which is put behind what is in `bytes`; 0: there will be nothing.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, bytes: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut shared = self.lock();
        if let Some(kind) = shared.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let read = pin!(shared.stream.read_buf(bytes)).poll(cx);
        // Alone on the connection nobody can break it off.
        if read.is_pending() && Arc::strong_count(&self.0) > 1 {
            shared.reader = Some(cx.waker().clone());
        }
        read
    }

    /// Whether nothing came, and nothing ended, since the last answer.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.lock().stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Writes all of `pieces`.
    pub(super) async fn write(&self, pieces: &mut [io::IoSlice<'_>]) -> io::Result<()> {
        let mut left = pieces;
        io::IoSlice::advance_slices(&mut left, 0);
        std::future::poll_fn(|cx| {
            let shared = &mut *self.lock();
            while !left.is_empty() {
                let written = ready!(shared.poll_write(cx, left))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                io::IoSlice::advance_slices(&mut left, written);
            }
            let flushed = Pin::new(&mut shared.stream).poll_flush(cx);
            shared.writing.bound(cx, shared.stall, flushed)
        })
        .await
    }

    /// The answer will not come: whoever waits for it learns why.
    pub(super) fn break_off(&self, kind: io::ErrorKind) {
        let mut shared = self.lock();
        shared.broken = Some(kind);
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = match pieces {
            [one] => stream.poll_write(cx, one),
            _ => stream.poll_write_vectored(cx, pieces),
        };
        self.writing.bound(cx, self.stall, written)
    }
}

impl Unlinked {
    pub(super) fn new(wire: Wire, early: BytesMut) -> Self {
        Self { wire, early }
    }
}

impl AsyncRead for Unlinked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.wire.lock().stream).poll_read(cx, buf);
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unlinked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.lock().poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.lock().stream).poll_shutdown(cx)
    }
}

impl Drop for Stream {
    /// TLS says goodbye (RFC 8446, section 6.1), as far as that goes without waiting.
    fn drop(&mut self) {
        if let Self::Tls(stream) = self {
            let _said = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
