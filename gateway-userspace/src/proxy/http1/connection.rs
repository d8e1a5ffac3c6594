//! A client's connection: what is read of it, one request after the other, and what is written.

use std::{
    cell::RefCell,
    io::{self, IoSlice, Write as _},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::proxy::{
    gate::{Body, Chunked, Complete, Head, Refusal, Timer},
    inflow::{self, Broken, Inflow, Rest},
    limits::Limits,
    message::{Request, RequestHead},
    received::Received,
};

/// What is read at once where a head may come: a whole one, nearly always.
const HEAD: usize = 16 * 1024;
/// Pieces that are no more together are copied into one: to hand them to the kernel apart costs more.
const SMALL: usize = 4 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// A worker's connections share it: one that waits for a request has no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEAD].into_boxed_slice());
}

/// One that two tasks may use: the one that answers, and the one that passes a request's body on. Each has it for a moment.
pub(super) type Shared<S> = Arc<Mutex<Connection<S>>>;

/// A client's connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    limits: Arc<Limits>,
    /// Of the next request, as far as it was looked at.
    head: Option<Box<Head>>,
    /// Between two bodies: a part of a head.
    inflow: Inflow,
    /// The body will not come to its end.
    broken: Option<io::ErrorKind>,
    /// What is left of what a client is to be told before it goes on with its body.
    interim: Option<&'static [u8]>,
    /// How many requests there were: a body that outlives its request must not take the next one's bytes.
    turn: u64,
    /// Nothing has come yet.
    fresh: bool,
    /// The client has ended its side.
    ended: bool,
    reading: Timer,
    writing: Timer,
}

/// What comes next on a connection.
#[derive(Debug)]
pub enum Next {
    /// A request.
    Asked(Box<Asked>),
    /// What is none. Where the next one would begin is unknown.
    Refused(Refusal),
    /// Nothing, for a moment.
    Rests,
    /// Nothing, ever.
    End,
}

/// A request, whose body is not read yet.
#[derive(Debug)]
pub struct Asked {
    pub(super) request: Request<Received>,
    /// What else is known of it.
    pub(super) complete: Complete,
}

impl Asked {
    /// Its head.
    pub fn head(&self) -> &RequestHead {
        &self.request.head
    }
}

/// Whether a connection may be told that it rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// Nobody has asked anything for a while.
    No,
    /// Somebody has.
    Yes,
}

/// A head that is whole.
type Heard = Result<(Box<Head>, Complete), Refusal>;

/// In bytes; where what comes is none, none of it is taken.
fn length(heard: &Heard) -> usize {
    heard.as_ref().map_or(0, |(_, complete)| complete.length)
}

/// For a moment.
pub(super) fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Connection<S> {
    /// At its beginning.
    pub fn new(stream: S, limits: Arc<Limits>) -> Self {
        Self {
            stream,
            limits,
            head: None,
            inflow: Inflow::default(),
            broken: None,
            interim: None,
            turn: 0,
            fresh: true,
            ended: false,
            reading: Timer::default(),
            writing: Timer::default(),
        }
    }

    /// Whether the client has ended its side; it may still be sending, else.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The connection, and what came on it behind the head that asked for another protocol.
    pub(super) fn into_other(self) -> (S, Vec<u8>) {
        (self.stream, self.inflow.bytes.into())
    }

    /// What is held of an answer before it is written.
    pub(super) fn most(&self) -> usize {
        self.limits.buffer_bytes
    }

    /// Which request's body it is that comes.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Nothing more comes of the body.
    pub(super) fn is_over(&self) -> bool {
        self.inflow.rest.is_over()
    }

    /// What is still to come of the body, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.inflow.rest.length()
    }

    /// The client waits to be told that its body is wanted, which nobody has done: it may send it, or the next request.
    pub(super) fn waits(&self) -> bool {
        self.interim == Some(CONTINUE)
    }

    /// What a head is that is whole in `bytes`.
    fn heard(&mut self, bytes: &[u8]) -> Option<Heard> {
        let mut head = self.head.take().unwrap_or_default();
        match head.advance(bytes, &self.limits).transpose() {
            None => {
                self.head = Some(head);
                None
            }
            Some(complete) => {
                self.reading.disarm();
                Some(complete.map(|complete| (head, complete)))
            }
        }
    }

    /// What is asked by a head.
    fn asked(&mut self, bytes: &Bytes, heard: Heard) -> Next {
        let asked = heard.and_then(|(mut head, complete)| {
            let head = head.request(&complete, bytes).ok_or(Refusal::BadRequest)?;
            Ok(Box::new(Asked { request: Request { head, body: Received::Nothing }, complete }))
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(refusal) => {
                log::debug!("request refused by the gate: {refusal:?}");
                return Next::Refused(refusal);
            }
        };
        self.turn += 1;
        self.inflow.begin(match asked.complete.body {
            Body::Length(length) => Rest::Length(length),
            Body::Chunked => Rest::Chunks(Box::new(Chunked::of_a_request())),
        });
        self.interim = asked.complete.waits.then_some(CONTINUE);
        Next::Asked(asked)
    }

    /// A head that is whole in what is held.
    fn next_of_held(&mut self) -> Option<Next> {
        let mut bytes = std::mem::take(&mut self.inflow.bytes);
        let Some(heard) = self.heard(&bytes) else {
            self.inflow.bytes = bytes;
            return None;
        };
        let head = bytes.split_to(length(&heard)).freeze();
        if !bytes.is_empty() {
            self.inflow.bytes = bytes;
        }
        Some(self.asked(&head, heard))
    }

    /// A head in what has just come, of which the rest is held. Nothing is held before.
    fn next_of(&mut self, bytes: &[u8]) -> Option<Next> {
        let heard = self.heard(bytes);
        let (head, rest) = bytes.split_at(heard.as_ref().map_or(0, length));
        if !rest.is_empty() {
            self.inflow.bytes.extend_from_slice(rest);
        }
        Some(self.asked(&Bytes::copy_from_slice(head), heard?))
    }

    /// Pending until it is too late.
    fn wait(&mut self, cx: &mut Context<'_>, busy: Busy) -> Poll<Next> {
        let Limits { head, first_byte, idle, rest, .. } = *self.limits;
        let rest = rest.min(idle);
        let (patience, what) = match busy {
            _ if !self.inflow.bytes.is_empty() => (head, Next::End),
            _ if self.fresh => (first_byte, Next::End),
            Busy::Yes => (rest, Next::Rests),
            Busy::No => (idle - rest, Next::End),
        };
        if !self.reading.expired(cx, patience) {
            return Poll::Pending;
        }
        self.reading.disarm();
        Poll::Ready(what)
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Waits for the next request. What is left of the last one's body must have been read before.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, busy: Busy) -> Poll<Next> {
        if !self.inflow.bytes.is_empty()
            && let Some(next) = self.next_of_held()
        {
            return Poll::Ready(next);
        }
        loop {
            let next = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                    let new = buffer.filled();
                    if read.is_err() || new.is_empty() {
                        self.ended = true;
                        return Poll::Ready(Some(Next::End));
                    }
                    self.fresh = false;
                    if self.inflow.bytes.is_empty() {
                        self.reading.disarm();
                        return Poll::Ready(self.next_of(new));
                    }
                    self.inflow.bytes.extend_from_slice(new);
                    return Poll::Ready(self.next_of_held());
                }
                self.wait(cx, busy).map(Some)
            });
            if let Some(next) = ready!(next) {
                return Poll::Ready(next);
            }
        }
    }

    /// Waits for more of a body.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::ErrorKind>> {
        let (stream, limits) = (&mut self.stream, &self.limits);
        let filled =
            self.inflow.poll_fill(cx, limits.buffer_bytes, |cx, bytes| pin!(stream.read_buf(bytes)).poll(cx));
        match filled {
            Poll::Pending if self.reading.expired(cx, limits.body_stall) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof))
            }
            Poll::Ready(Ok(_)) => {
                self.reading.disarm();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.kind())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The next piece of the body, or what is behind it; None: it is over.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match self.broken {
            Some(kind) => Err(kind),
            None => ready!(self.poll_piece(cx)),
        };
        self.broken = frame.as_ref().err().copied();
        // The buffer goes with the body.
        if self.is_over() && self.inflow.bytes.is_empty() {
            self.inflow.bytes = BytesMut::new();
        }
        Poll::Ready(frame.map_err(io::Error::from).transpose())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, io::ErrorKind>> {
        loop {
            match self.inflow.next(&self.limits).map_err(|Broken| io::ErrorKind::InvalidData)? {
                inflow::Next::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                inflow::Next::Over => return Poll::Ready(Ok(None)),
                inflow::Next::More => {}
            }
            ready!(self.poll_interim(cx)).map_err(|error| error.kind())?;
            ready!(self.poll_more(cx))?;
        }
    }

    /// What nobody wants of a body, as far as it has come. False: it is not all.
    pub(super) fn skip(&mut self, cx: &mut Context<'_>) -> bool {
        // Who has to be told to go on is not.
        self.interim = None;
        let mut left = self.limits.buffer_bytes;
        while !self.is_over() {
            match self.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let count = frame.data_ref().map_or(0, Bytes::len);
                    let Some(rest) = left.checked_sub(count) else { return false };
                    left = rest;
                }
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            }
        }
        true
    }

    /// Tells a client that its body is wanted, if it waits for that.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut rest) = self.interim else { return Poll::Ready(Ok(())) };
        while !rest.is_empty() {
            let count = ready!(self.poll_write(cx, &[IoSlice::new(rest)]))?;
            rest = &rest[count..];
            self.interim = Some(rest);
        }
        ready!(self.poll_flush(cx))?;
        self.interim = None;
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let written = match length <= SMALL {
            true => SCRATCH.with_borrow_mut(|scratch| {
                let mut all = &mut scratch[..length];
                for piece in pieces {
                    // There is room for all of it.
                    let _written = all.write(piece);
                }
                stream.poll_write(cx, &scratch[..length])
            }),
            false => stream.poll_write_vectored(cx, pieces),
        };
        let written = written.map(|count| match count {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            count => count,
        });
        self.writing.bound(cx, self.limits.write_stall, written)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.writing.bound(cx, self.limits.write_stall, flushed)
    }

    /// Writes all of `pieces`, which are what is left of an answer.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &mut &mut [IoSlice<'_>],
    ) -> Poll<io::Result<()>> {
        // Who was not told to go on yet, will not be any more.
        if self.waits() {
            self.interim = None;
        }
        ready!(self.poll_interim(cx))?;
        while !pieces.is_empty() {
            let count = ready!(self.poll_write(cx, pieces))?;
            IoSlice::advance_slices(pieces, count);
        }
        self.poll_flush(cx)
    }

    /// Ends our side. What comes from here on is nobody's.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn += 1;
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.writing.bound(cx, self.limits.write_stall, outcome)
    }
}

/// What still comes on a connection that we have ended: whoever passed on a body that nobody wants may not have let go of it yet.
pub(super) struct Left<'c, S>(pub(super) &'c Mutex<Connection<S>>);

impl<S: AsyncRead + Unpin> AsyncRead for Left<'_, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(self.0).stream).poll_read(cx, buf)
    }
}
