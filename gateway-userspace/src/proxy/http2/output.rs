//! What a connection has to say and has not said yet. What is ready together goes together: a TLS record and a system call for each of
//! the answers cost more than the answers do.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::frame::{DATA, END_STREAM, Header};

/// Of a body, what is larger is not copied.
const SMALL: usize = 4096;
/// What frames get room for at first: a few answers.
const ROOM: usize = 16 * 1024;
/// Pieces that are written at once.
const AT_ONCE: usize = 32;
/// So many buffers are kept for connections to come …
const KEPT: usize = 16;
/// … up to this size each.
const LARGEST: usize = 64 * 1024;

thread_local! {
    /// What a worker's connections lend each other: each has a buffer for a moment only, and to make one costs as much as a quarter of
    /// an answer.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Frames, whole ones, in their order.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Frames, and behind them a piece of a body whose header is the last of them.
    front: VecDeque<(Vec<u8>, Bytes)>,
    /// Only while there are some: a connection that rests has no buffer.
    frames: Vec<u8>,
    /// What of it all is written already; of the first piece only.
    written: usize,
    /// What is in front of [`Self::frames`].
    waits: usize,
}

impl Output {
    /// What is still to be written.
    pub(super) fn len(&self) -> usize {
        self.waits + self.frames.len() - self.written
    }

    /// To append frames to.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        if self.frames.capacity() == 0 {
            self.frames = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(ROOM));
        }
        &mut self.frames
    }

    /// A piece of a body, no longer than a frame may be.
    pub(super) fn data(&mut self, stream: u32, data: Bytes, ends: bool) {
        let header =
            Header { length: data.len(), kind: DATA, flags: if ends { END_STREAM } else { 0 }, stream };
        let frames = self.frames();
        frames.extend_from_slice(&header.bytes());
        if data.len() <= SMALL {
            return frames.extend_from_slice(&data);
        }
        self.waits += self.frames.len() + data.len();
        self.front.push_back((std::mem::take(&mut self.frames), data));
    }

    /// Writes until nothing is left.
    pub(super) fn poll_write<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = if self.front.is_empty() {
                stream.as_mut().poll_write(cx, &self.frames[self.written..])
            } else {
                let mut slices = [IoSlice::new(&[]); AT_ONCE];
                let count = self.slices(&mut slices);
                stream.as_mut().poll_write_vectored(cx, &slices[..count])
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; AT_ONCE]) -> usize {
        let front = self.front.iter().flat_map(|(frames, data)| [&**frames, &**data]);
        let (mut skip, mut count) = (self.written, 0);
        for piece in front.chain([&*self.frames]) {
            let piece_skip = skip.min(piece.len());
            skip -= piece_skip;
            if piece_skip < piece.len() && count < AT_ONCE {
                slices[count] = IoSlice::new(&piece[piece_skip..]);
                count += 1;
            }
        }
        count
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some((frames, data)) = self.front.front() {
            let size = frames.len() + data.len();
            if self.written < size {
                return;
            }
            self.written -= size;
            self.waits -= size;
            self.front.pop_front();
        }
        if self.written == self.frames.len() {
            let mut spare = std::mem::take(self).frames;
            spare.clear();
            SPARE.with_borrow_mut(|spares| {
                // A body's last piece leaves none behind it.
                if (1..=LARGEST).contains(&spare.capacity()) && spares.len() < KEPT {
                    spares.push(spare);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::{AsyncRead, ReadBuf, duplex};

    use super::*;

    proptest! {
        /// However much is taken at once, all arrives in its order.
        #[test]
        fn all_arrives_as_it_was_said(
            pieces in prop::collection::vec((any::<bool>(), 0..3 * SMALL, any::<u8>()), 0..12),
            room in 1..9_000_usize,
        ) {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (is_data, length, byte) in pieces {
                let piece = vec![byte; length];
                if is_data {
                    let header = Header { length, kind: DATA, flags: 0, stream: 3 };
                    expected.extend_from_slice(&header.bytes());
                    output.data(3, piece.clone().into(), false);
                } else {
                    output.frames().extend_from_slice(&piece);
                }
                expected.extend_from_slice(&piece);
                prop_assert_eq!(output.len(), expected.len());
            }
            let (mut near, mut far) = duplex(room);
            let mut cx = Context::from_waker(Waker::noop());
            let mut got = Vec::new();
            loop {
                let done = output.poll_write(Pin::new(&mut near), &mut cx).map(Result::unwrap).is_ready();
                let mut bytes = [0; 1000];
                let mut buf = ReadBuf::new(&mut bytes);
                while Pin::new(&mut far).poll_read(&mut cx, &mut buf).is_ready() {
                    got.extend_from_slice(buf.filled());
                    buf.clear();
                }
                if done { break }
            }
            prop_assert!(got == expected);
            prop_assert_eq!((output.len(), output.frames.capacity(), output.front.capacity()), (0, 0, 0));
        }
    }
}
