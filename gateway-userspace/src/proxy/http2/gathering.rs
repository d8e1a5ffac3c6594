//! What a connection writes in one turn, gathered: h2 flushes behind every DATA frame, and a TLS record and a system call for each
//! of the answers that are ready together cost more than the answers do.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most: a record (RFC 8446, section 5.1). What is larger goes by itself, and is not copied.
const MOST: usize = 16 * 1024;

/// A connection's turn, known to the connection and to what it writes to.
#[derive(Debug, Default)]
pub(super) struct Turn {
    runs: AtomicBool,
    /// Something was gathered, and not written.
    left: AtomicBool,
}

impl Turn {
    /// Polls a connection, and once it waits once more: that flushes, which h2 does whenever it is polled.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.runs.store(true, Ordering::Relaxed);
        let polled = poll(cx);
        self.runs.store(false, Ordering::Relaxed);
        match polled.is_pending() && self.left.load(Ordering::Relaxed) {
            true => poll(cx),
            false => polled,
        }
    }
}

/// A stream that writes at the end of a turn.
#[derive(Debug)]
pub(super) struct Gathering<S> {
    inner: S,
    turn: Arc<Turn>,
    /// Only while there is something: a connection that rests has no buffer.
    bytes: Vec<u8>,
    written: usize,
}

impl<S> Gathering<S> {
    pub(super) fn new(inner: S, turn: Arc<Turn>) -> Self {
        Self { inner, turn, bytes: Vec::new(), written: 0 }
    }

    /// Takes all of `slices`, if that may wait and there is room.
    fn gather(&mut self, slices: &[io::IoSlice<'_>]) -> Option<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        if !self.turn.runs.load(Ordering::Relaxed) || self.bytes.len() + count > MOST {
            return None;
        }
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(MOST);
        }
        slices.iter().for_each(|slice| self.bytes.extend_from_slice(slice));
        self.turn.left.store(!self.bytes.is_empty(), Ordering::Relaxed);
        Some(count)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes what was gathered.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        (self.bytes, self.written) = (Vec::new(), 0);
        self.turn.left.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(count) = this.gather(slices) {
            return Poll::Ready(Ok(count));
        }
        ready!(this.drain(cx))?;
        Pin::new(&mut this.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn.runs.load(Ordering::Relaxed) && !this.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn pair(room: usize) -> (Arc<Turn>, Gathering<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(room);
        let turn = Arc::new(Turn::default());
        (Arc::clone(&turn), Gathering::new(near, turn), far)
    }

    /// What there is to read.
    fn arrived(far: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 4 * MOST];
        let mut buf = ReadBuf::new(&mut bytes);
        let _pending = Pin::new(far).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        buf.filled().to_vec()
    }

    /// Writes and flushes, as h2 does with a frame.
    fn frame(stream: &mut Gathering<DuplexStream>, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            matches!(Pin::new(&mut *stream).poll_write(&mut cx, bytes), Poll::Ready(Ok(n)) if n == bytes.len())
        );
        assert!(Pin::new(stream).poll_flush(&mut cx).is_ready());
    }

    fn take_turn(turn: &Turn, mut polled: impl FnMut() -> Poll<()>) -> Poll<()> {
        turn.poll(&mut Context::from_waker(Waker::noop()), |_| polled())
    }

    #[test]
    fn frames_of_a_turn_go_together_at_its_end() {
        let (turn, mut stream, mut far) = pair(1 << 20);
        let mut polls = 0;
        let polled = take_turn(&turn, || {
            polls += 1;
            if polls == 1 {
                frame(&mut stream, b"one ");
                frame(&mut stream, b"two");
                assert!(arrived(&mut far).is_empty());
            } else {
                assert!(Pin::new(&mut stream).poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
            }
            Poll::Pending
        });
        assert_eq!((polled, polls, &*arrived(&mut far)), (Poll::Pending, 2, &b"one two"[..]));
        assert_eq!(stream.bytes.capacity(), 0);
        // A turn without anything to say is one.
        assert!(
            take_turn(&turn, || {
                polls += 1;
                Poll::Pending
            })
            .is_pending()
        );
        assert_eq!(polls, 3);
    }

    #[test]
    fn a_turn_that_goes_on_is_no_end() {
        let (turn, mut stream, mut far) = pair(1 << 20);
        assert!(
            take_turn(&turn, || {
                frame(&mut stream, b"one");
                Poll::Ready(())
            })
            .is_ready()
        );
        assert!(arrived(&mut far).is_empty());
        frame(&mut stream, b"two");
        assert_eq!(arrived(&mut far), b"onetwo");
    }

    #[test]
    fn what_is_large_goes_behind_what_was_gathered() {
        let (turn, mut stream, mut far) = pair(1 << 20);
        let large = vec![b'x'; MOST];
        let polled = take_turn(&turn, || {
            frame(&mut stream, b"one");
            frame(&mut stream, &large);
            Poll::Ready(())
        });
        let got = arrived(&mut far);
        assert!(polled.is_ready() && got.starts_with(b"onexx") && got.len() == 3 + MOST);
    }

    #[tokio::test]
    async fn what_the_other_side_does_not_take_waits_and_is_whole() {
        let (turn, mut stream, mut far) = pair(10);
        assert!(
            take_turn(&turn, || {
                frame(&mut stream, &[b'y'; 100]);
                Poll::Ready(())
            })
            .is_ready()
        );
        let writes = async { stream.shutdown().await.unwrap() };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(far.read_to_end(&mut got), writes);
        assert_eq!((read.unwrap(), got), (100, vec![b'y'; 100]));
    }
}
