//! What comes on a connection of HTTP/1.1, and what of it is a body (RFC 9112, sections 6 and 7). Pure, but for the read.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;

use super::{gate::Chunked, limits::Limits};

/// What is read at once, at first: most bodies are smaller.
const PIECE: usize = 8 * 1024;

/// What has come and was not looked at yet, and how much of the body is still to come.
#[derive(Debug)]
pub(super) struct Inflow {
    pub(super) bytes: BytesMut,
    /// What is read at once: more, the more comes.
    piece: usize,
    pub(super) rest: Rest,
}

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Rest {
    /// So many bytes.
    Length(u64),
    /// Chunks, and the fields behind them.
    Chunks(Box<Chunked>),
    /// All until the connection ends.
    Everything,
}

/// What is next of a body.
#[derive(Debug)]
pub(super) enum Next {
    /// A piece, or the fields behind it.
    Frame(Frame<Bytes>),
    /// Nothing before more has come.
    More,
    /// Nothing, ever.
    Over,
}

/// Chunks that are none: where the body ends is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Rest {
    /// There is none.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// In bytes, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::Everything => None,
        }
    }
}

impl Default for Inflow {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), piece: PIECE, rest: Rest::Length(0) }
    }
}

impl Inflow {
    /// There is another body.
    pub(super) fn begin(&mut self, rest: Rest) {
        (self.rest, self.piece) = (rest, PIECE);
    }

    /// Waits for more by `read`, which says how much it has appended; 0: there will be nothing. At most so much is read at once.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        read: impl FnOnce(&mut Context<'_>, &mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.bytes.reserve(self.piece);
        let room = self.bytes.capacity() - self.bytes.len();
        let count = ready!(read(cx, &mut self.bytes))?;
        if count == room {
            self.piece = (self.piece * 2).min(most);
        }
        Poll::Ready(Ok(count))
    }

    /// What has come of the body.
    pub(super) fn next(&mut self, limits: &Limits) -> Result<Next, Broken> {
        let bytes = &mut self.bytes;
        let count = match &mut self.rest {
            Rest::Length(0) => return Ok(Next::Over),
            Rest::Length(left) => {
                let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= count as u64;
                count
            }
            Rest::Everything => bytes.len(),
            Rest::Chunks(chunked) => {
                let piece = chunked.next_piece(bytes, limits).ok_or(Broken)?;
                bytes.advance(piece.skipped);
                if piece.data == 0 && chunked.is_end() {
                    let trailers = chunked.take_trailers();
                    self.rest = Rest::Length(0);
                    return Ok(trailers.map_or(Next::Over, |fields| Next::Frame(Frame::trailers(fields))));
                }
                piece.data
            }
        };
        Ok(match count {
            0 => Next::More,
            count => Next::Frame(Frame::data(bytes.split_to(count).freeze())),
        })
    }

    /// It holds a large buffer, or did.
    pub(super) fn has_grown(&self) -> bool {
        self.piece > PIECE
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const MOST: usize = 4 * PIECE;

    /// All data, the fields behind it, and what is left of `bytes`, which come so many at once.
    fn body(mut inflow: Inflow, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Broken> {
        let (mut data, mut trailers, mut pieces) = (Vec::new(), HeaderMap::new(), bytes.chunks(cut));
        loop {
            match inflow.next(&Limits::default())? {
                Next::Frame(frame) => match frame.into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                },
                Next::More => match pieces.next() {
                    Some(piece) => inflow.bytes.extend_from_slice(piece),
                    None => break,
                },
                Next::Over => break,
            }
        }
        let rest = [&inflow.bytes[..], &pieces.collect::<Vec<_>>().concat()].concat();
        Ok((data, trailers, rest))
    }

    fn of(rest: Rest) -> Inflow {
        Inflow { rest, ..Inflow::default() }
    }

    #[test]
    fn a_body_takes_what_is_its_own_however_it_is_cut() {
        let chunks = || Rest::Chunks(Box::new(Chunked::of_a_request()));
        let text = b"3\r\nabc\r\n2\r\nde\r\n0\r\na: b\r\n\r\nGET";
        for cut in 1..=text.len() {
            let fields = HeaderMap::from_iter([(http::HeaderName::from_static("a"), "b".parse().unwrap())]);
            assert_eq!(
                body(of(chunks()), text, cut),
                Ok((b"abcde".to_vec(), fields, b"GET".to_vec())),
                "{cut}"
            );
            let (data, rest) = text.split_at(10);
            let expected = Ok((data.to_vec(), HeaderMap::new(), rest.to_vec()));
            assert_eq!(body(of(Rest::Length(10)), text, cut), expected, "{cut}");
            let expected = Ok((text.to_vec(), HeaderMap::new(), Vec::new()));
            assert_eq!(body(of(Rest::Everything), text, cut), expected, "{cut}");
        }
        assert_eq!(body(of(chunks()), b"3\r\nabcd", 1), Err(Broken));
    }

    #[test]
    fn the_more_comes_the_more_is_read_at_once() {
        let (mut inflow, mut cx) = (Inflow::default(), Context::from_waker(std::task::Waker::noop()));
        let mut read = |inflow: &mut Inflow, most: usize| {
            let filled = inflow.poll_fill(&mut cx, MOST, |_, bytes| {
                let count = most.min(bytes.capacity() - bytes.len());
                bytes.extend_from_slice(&vec![0; count]);
                Poll::Ready(Ok(count))
            });
            inflow.bytes.clear();
            let Poll::Ready(Ok(count)) = filled else { panic!("{filled:?}") };
            count
        };
        assert_eq!(read(&mut inflow, PIECE - 1), PIECE - 1);
        assert!(!inflow.has_grown());
        let counts = [(); 4].map(|()| read(&mut inflow, usize::MAX));
        assert!(counts.is_sorted() && counts[0] < counts[3] && counts[3] <= MOST + PIECE, "{counts:?}");
        assert!(inflow.has_grown());
        inflow.begin(Rest::Length(1));
        assert!(!inflow.has_grown());
    }
}
