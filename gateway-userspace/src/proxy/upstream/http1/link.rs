//! A connection and its exchanges.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
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
    inflow::{Broken, Inflow, Next, Rest},
    limits::Limits,
    message::{RequestHead, ResponseHead},
};

/// A connection to an upstream.
#[derive(Debug)]
pub(in crate::proxy) struct Link {
    wire: Wire,
    limits: Arc<Limits>,
    /// Between two bodies: a part of a head.
    inflow: Inflow,
    /// Why there will be no more, once that is known.
    lost: Option<Lost>,
    /// The answer allows another one behind it.
    keeps: bool,
    waiting: Timer,
    /// Leave for it, where connections are bounded.
    _line: Option<OwnedSemaphorePermit>,
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
            inflow: Inflow::default(),
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
        let is_clear = self.keeps && self.is_over() && self.inflow.bytes.is_empty();
        if self.inflow.has_grown() {
            self.inflow = Inflow::default();
        }
        is_clear
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
        self.inflow.begin(match answer.body {
            Delimited::ByLength(length) => Rest::Length(length),
            Delimited::InChunks => Rest::Chunks(Box::new(Chunked::of_an_answer())),
            Delimited::ByEnd => Rest::Everything,
            Delimited::Switched => Rest::Length(0),
        });
        Ok(answer.head)
    }

    /// The head, once it is whole. What only announces it goes no further.
    fn parsed(&mut self, to: &Method) -> Result<Option<answer::Answer>, Lost> {
        let bytes = &mut self.inflow.bytes;
        while !bytes.is_empty() {
            match answer::parse(bytes, to)? {
                Some(answer) if is_interim(answer.head.status) => {}
                Some(answer) => return Ok(Some(answer)),
                None if bytes.len() >= self.limits.buffer_bytes => {
                    return Err(Lost::Malformed("its head is too large"));
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Waits until more has come.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let (wire, most) = (&self.wire, self.limits.buffer_bytes);
        match ready!(self.inflow.poll_fill(cx, most, |cx, bytes| wire.poll_read(cx, bytes)))? {
            0 => Poll::Ready(Err(Lost::Ended)),
            _ => Poll::Ready(Ok(())),
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
            match self.inflow.next(&self.limits).map_err(|Broken| Lost::Malformed("its chunks are broken"))? {
                Next::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Next::Over => return Poll::Ready(Ok(None)),
                Next::More => {}
            }
            match ready!(self.fill(cx)) {
                Err(Lost::Ended) if matches!(self.inflow.rest, Rest::Everything) => {
                    self.inflow.rest = Rest::Length(0);
                    return Poll::Ready(Ok(None));
                }
                filled => filled?,
            }
        }
    }

    /// Nothing is to come any more.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.inflow.rest.is_over()
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        self.inflow.rest.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// What it is once protocols were switched.
    pub(in crate::proxy::upstream) fn into_other(self) -> Unlinked {
        Unlinked::new(self.wire, self.inflow.bytes)
    }
}

/// `100 Continue` and hints: the answer is still to come.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
