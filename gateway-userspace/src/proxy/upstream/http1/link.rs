//! A connection and its exchanges.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::{self, Delimited, Malformed},
    request::{self as ask},
    sending::Sending,
    wire::{Stream, Unlinked, Wire},
};
use crate::proxy::{
    body::{RequestBody, Upload},
    gate::{Chunked, Timer},
    limits::Limits,
    message::{RequestHead, ResponseHead},
};

/// What is read at once, at first: most answers are smaller.
const PIECE: usize = 8 * 1024;

/// A connection to an upstream.
#[derive(Debug)]
pub(in crate::proxy) struct Link {
    wire: Wire,
    limits: Arc<Limits>,
    /// What came and was not looked at yet.
    bytes: BytesMut,
    /// What is read at once.
    piece: usize,
    rest: Rest,
    /// Why there will be no more, once that is known.
    lost: Option<Lost>,
    /// The answer allows another one behind it.
    keeps: bool,
    waiting: Timer,
    /// Leave for it, where connections are bounded.
    _line: Option<OwnedSemaphorePermit>,
}

/// What is still to come of an answer.
#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunks(Box<Chunked>),
    /// All until the connection ends.
    Everything,
    /// The connection is something else now.
    Other,
}

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It ended early.
    #[error("the upstream ended the connection")]
    Ended,
    /// What came is no HTTP.
    #[error("{0}")]
    Malformed(&'static str),
    /// No answer in time.
    #[error("no answer in time")]
    Late,
}

/// A request that has no answer.
pub(in crate::proxy::upstream) struct Failed {
    pub(in crate::proxy::upstream) lost: Lost,
    /// Whether anything of an answer came.
    pub(in crate::proxy::upstream) was_heard: bool,
}

impl From<Malformed> for Lost {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl Link {
    /// On which nothing was said yet.
    pub(in crate::proxy::upstream) fn new(stream: Stream, limits: Arc<Limits>) -> Self {
        Self {
            wire: Wire::new(stream, limits.upstream_stall),
            limits,
            bytes: BytesMut::new(),
            piece: PIECE,
            rest: Rest::Length(0),
            lost: None,
            keeps: true,
            waiting: Timer::default(),
            _line: None,
        }
    }

    /// It has leave for as long as it is there.
    pub(in crate::proxy::upstream) fn with(self, line: Option<OwnedSemaphorePermit>) -> Self {
        Self { _line: line, ..self }
    }

    /// Whether another request may go by it.
    pub(in crate::proxy::upstream) fn is_ready(&self) -> bool {
        self.wire.is_quiet()
    }

    /// Whether it may wait for another request. It holds one small buffer while it does: there are few such connections, and to
    /// make a buffer for each request is a part of its cost.
    pub(in crate::proxy::upstream) fn rests(&mut self) -> bool {
        if self.piece > PIECE {
            (self.bytes, self.piece) = (BytesMut::new(), PIECE);
        }
        self.keeps && self.is_over() && self.bytes.is_empty()
    }

    /// Sends a request, and waits for the head of its answer for `patience` behind the last byte of its body: a long upload is no
    /// stall.
    pub(in crate::proxy::upstream) async fn exchange(
        &mut self,
        head: &RequestHead,
        body: &mut RequestBody,
        upload: Option<&Upload>,
        patience: Duration,
    ) -> Result<(ResponseHead, Option<Sending>), Failed> {
        let (mut was_heard, mut sending) = (false, None);
        let has_body = !matches!(body, RequestBody::Empty);
        let text = ask::encode(head, has_body);
        let answer = async {
            if has_body {
                let (delimited, body) = (ask::Delimited::of(head), std::mem::take(body));
                sending = Some(Sending::begin(self.wire.clone(), text, body, delimited));
            } else {
                self.wire.write(&mut [IoSlice::new(&text)]).await?;
            }
            self.answer(&head.method, upload, patience, &mut was_heard).await
        };
        match answer.await {
            Ok(head) => Ok((head, sending)),
            Err(lost) => Err(Failed { lost, was_heard }),
        }
    }

    async fn answer(
        &mut self,
        to: &Method,
        upload: Option<&Upload>,
        patience: Duration,
        was_heard: &mut bool,
    ) -> Result<ResponseHead, Lost> {
        let mut sent = None;
        let answer = std::future::poll_fn(|cx| {
            loop {
                if let Some(answer) = self.parsed(to)? {
                    return Poll::Ready(Ok(answer));
                }
                match self.fill(cx) {
                    Poll::Ready(outcome) => outcome?,
                    Poll::Pending => {
                        let now = upload.map(Upload::frames);
                        let before = *sent.get_or_insert(now);
                        if !self.waiting.expired(cx, patience) {
                            return Poll::Pending;
                        }
                        if now == before {
                            return Poll::Ready(Err(Lost::Late));
                        }
                        sent = Some(now);
                        self.waiting.disarm();
                        continue;
                    }
                }
                *was_heard = true;
            }
        })
        .await?;
        self.waiting.disarm();
        self.keeps = answer.keeps;
        self.rest = match answer.body {
            Delimited::ByLength(length) => Rest::Length(length),
            Delimited::InChunks => Rest::Chunks(Box::new(Chunked::of_an_answer())),
            Delimited::ByEnd => Rest::Everything,
            Delimited::Switched => Rest::Other,
        };
        Ok(answer.head)
    }

    /// The head, once it is whole. What only announces it goes no further.
    fn parsed(&mut self, to: &Method) -> Result<Option<answer::Answer>, Lost> {
        while !self.bytes.is_empty() {
            match answer::parse(&mut self.bytes, to)? {
                Some(answer) if is_interim(answer.head.status) => {}
                Some(answer) => return Ok(Some(answer)),
                None if self.bytes.len() >= self.limits.buffer_bytes => {
                    return Err(Lost::Malformed("its head is too large"));
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Waits until more has come.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.bytes.reserve(self.piece);
        let room = self.bytes.capacity() - self.bytes.len();
        match ready!(self.wire.poll_read(cx, &mut self.bytes))? {
            0 => Poll::Ready(Err(Lost::Ended)),
            count => {
                if count == room {
                    self.piece = (self.piece * 2).min(self.limits.buffer_bytes);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// The next piece of the answer's body, or its trailers; None: it is over. That it broke off is told a turn later, so that the
    /// client gets what there is of it.
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        if let Some(lost) = self.lost.take() {
            return Poll::Ready(Some(Err(lost)));
        }
        match ready!(self.poll_next(cx)) {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(lost) => {
                self.lost = Some(lost);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Lost>> {
        loop {
            match self.next_frame()? {
                Next::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Next::Over => return Poll::Ready(Ok(None)),
                Next::More => {}
            }
            match ready!(self.fill(cx)) {
                Err(Lost::Ended) if matches!(self.rest, Rest::Everything) => {
                    self.rest = Rest::Length(0);
                    return Poll::Ready(Ok(None));
                }
                filled => filled?,
            }
        }
    }

    /// Of what has come.
    fn next_frame(&mut self) -> Result<Next, Lost> {
        let count = match &mut self.rest {
            Rest::Length(0) | Rest::Other => return Ok(Next::Over),
            Rest::Length(left) => {
                let count =
                    usize::try_from(*left).map_or(self.bytes.len(), |left| left.min(self.bytes.len()));
                *left -= count as u64;
                count
            }
            Rest::Everything => self.bytes.len(),
            Rest::Chunks(chunked) => {
                let piece = chunked.next_piece(&self.bytes, &self.limits);
                let piece = piece.ok_or(Lost::Malformed("its chunks are broken"))?;
                // The buffer's memory goes with what is handed on.
                drop(self.bytes.split_to(piece.skipped));
                if piece.data == 0 && chunked.is_end() {
                    let trailers = chunked.take_trailers();
                    self.rest = Rest::Length(0);
                    return match trailers {
                        Some(trailers) => Ok(Next::Frame(Frame::trailers(trailers))),
                        None => Ok(Next::Over),
                    };
                }
                piece.data
            }
        };
        Ok(if count == 0 {
            Next::More
        } else {
            Next::Frame(Frame::data(self.bytes.split_to(count).freeze()))
        })
    }

    /// Nothing is to come any more.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Length(0))
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// What it is once protocols were switched.
    pub(in crate::proxy::upstream) fn into_other(self) -> Unlinked {
        Unlinked::new(self.wire, self.bytes)
    }
}

enum Next {
    Frame(Frame<Bytes>),
    /// Nothing before more has come.
    More,
    Over,
}

/// `100 Continue` and hints: the answer is still to come.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
