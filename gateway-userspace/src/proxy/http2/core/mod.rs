//! What a connection and its streams share: which streams there are, what may be sent and what has come.

mod hear;
mod say;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::BytesMut;
use h2::Reason;
use http::HeaderMap;

use super::{
    frame::{self, WIDEST, WINDOW},
    output::Output,
};
use crate::proxy::limits::Limits;

/// By which the answer to the PING behind a GOAWAY is known.
const KNOWS: [u8; 8] = *b"last one";

/// How far a connection is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The client was told that it ends, and what it asks until it knows is served.
    Leaving,
    /// What it asks now is not.
    Left,
    /// It is over.
    Over,
}

/// A connection's streams, windows and frames.
#[derive(Debug)]
pub(super) struct Core {
    /// By their numbers, which rise.
    streams: Vec<Stream>,
    /// The client's highest.
    last: u32,
    /// Streams that we have ended before the client did: it may not know yet.
    forgotten: VecDeque<u32>,
    /// What may be sent, of all streams, and of each new one.
    window: i64,
    first_window: i64,
    /// What the client may still send, and what of it is read and not told yet.
    allowed: i64,
    read: u32,
    /// Whether our settings have yet to be acknowledged.
    unsettled: bool,
    nothing_is_remembered: bool,
    pub(super) output: Output,
    stage: Stage,
    /// Streams that wait for room that all share: each in its turn, with a frame.
    queue: VecDeque<u32>,
    /// The connection's, while it waits.
    waker: Option<Waker>,
    limits: Arc<Limits>,
}

/// A request and its answer.
#[derive(Debug)]
struct Stream {
    id: u32,
    /// What may be sent, apart from what all streams together may.
    window: i64,
    /// What the client may still send, and what of it is read and not told yet.
    allowed: i64,
    read: u32,
    /// What has come, and was not taken yet.
    come: VecDeque<BytesMut>,
    trailers: Option<HeaderMap>,
    /// What of the body is still to come, if it was announced.
    length: Option<u64>,
    /// The client has said all.
    asked: bool,
    /// So have we.
    answered: bool,
    reset: Option<Reason>,
    /// Who takes the body is gone, and who sends the answer.
    unheard: bool,
    unsaid: bool,
    hears: Option<Waker>,
    says: Option<Waker>,
}

impl Stream {
    fn is_closed(&self) -> bool {
        self.reset.is_some() || (self.asked && self.answered)
    }

    fn new(id: u32, window: i64, allowed: u32, length: Option<u64>, asked: bool) -> Self {
        Self {
            id,
            window,
            allowed: allowed.into(),
            read: 0,
            come: VecDeque::new(),
            trailers: None,
            length,
            asked,
            answered: false,
            reset: None,
            unheard: false,
            unsaid: false,
            hears: None,
            says: None,
        }
    }

    /// Tells both who hear and who say.
    fn wake(&mut self) {
        self.hears.take().into_iter().chain(self.says.take()).for_each(Waker::wake);
    }
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

impl Core {
    /// With our settings to be sent first.
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        let mut output = Output::default();
        let settings = [
            (3, limits.streams),
            (4, limits.stream_window),
            (6, u32::try_from(limits.head_bytes).unwrap_or(u32::MAX)),
            // Extended CONNECT: RFC 8441, section 3.
            (8, 1),
        ];
        frame::settings(&settings, output.frames());
        let window = limits.connection_window.max(WINDOW);
        if window > WINDOW {
            frame::window(0, window - WINDOW, output.frames());
        }
        Self {
            streams: Vec::new(),
            last: 0,
            forgotten: VecDeque::new(),
            window: WINDOW.into(),
            first_window: WINDOW.into(),
            allowed: window.into(),
            read: 0,
            unsettled: true,
            nothing_is_remembered: false,
            output,
            stage: Stage::Open,
            queue: VecDeque::new(),
            waker: None,
            limits,
        }
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.streams.get_mut(place)
    }

    /// One that goes on.
    fn live(&mut self, id: u32) -> Option<&mut Stream> {
        self.stream(id).filter(|stream| !stream.is_closed())
    }

    /// The connection's task is at work.
    pub(super) fn works(&mut self) {
        self.waker = None;
    }

    /// It waits.
    pub(super) fn waits(&mut self, cx: &Context<'_>) {
        keep(&mut self.waker, cx);
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the client is to be read from: not while it does not take what it gets.
    pub(super) fn reads(&self) -> bool {
        self.stage != Stage::Over && self.output.len() < 2 * self.limits.buffer_bytes
    }

    /// Whether nothing is left to be done but to send what was said.
    pub(super) fn is_over(&self) -> bool {
        match self.stage {
            Stage::Over => true,
            Stage::Left => self.streams.iter().all(Stream::is_closed),
            Stage::Open | Stage::Leaving => false,
        }
    }

    /// The last stream that the client began, and whether there is any now.
    pub(super) fn used(&self) -> (u32, bool) {
        (self.last, !self.streams.is_empty())
    }

    /// The client is told that it is over. What it asks until it knows is served (section 6.8).
    pub(super) fn leave(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Leaving;
            frame::go_away(WIDEST as u32, Reason::NO_ERROR, self.output.frames());
            frame::ping(0, KNOWS, self.output.frames());
        }
    }

    fn left(&mut self) {
        self.stage = Stage::Left;
        frame::go_away(self.last, Reason::NO_ERROR, self.output.frames());
    }

    /// The connection ends now. With a reason the client is told.
    pub(super) fn end(&mut self, reason: Option<Reason>) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        if let Some(reason) = reason {
            frame::go_away(self.last, reason, self.output.frames());
        }
        for stream in &mut self.streams {
            if !stream.is_closed() {
                stream.reset = Some(reason.unwrap_or(Reason::CANCEL));
            }
            stream.wake();
        }
    }

    /// What was read of the client's is no more held for it.
    fn release(&mut self, count: u32) {
        self.read += count;
        if self.stage != Stage::Over && self.read >= self.limits.connection_window.max(WINDOW) / 2 {
            frame::window(0, self.read, self.output.frames());
            self.allowed += i64::from(std::mem::take(&mut self.read));
            self.wake();
        }
    }

    /// Resets a stream; what the client says of it until it knows is no news.
    fn reset(&mut self, id: u32, reason: Reason) {
        if self.stage == Stage::Over {
            return;
        }
        frame::reset(id, reason, self.output.frames());
        self.forget(id);
        if let Some(stream) = self.live(id) {
            stream.reset = Some(reason);
            self.closed(id);
        }
        self.wake();
    }

    fn forget(&mut self, id: u32) {
        if self.forgotten.len() >= self.limits.reset_streams {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }

    /// What is left of a stream that was reset.
    fn closed(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else { return };
        stream.wake();
        self.discard(id);
    }

    /// Nobody takes what has come.
    fn discard(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else { return };
        let come = std::mem::take(&mut stream.come);
        stream.trailers = None;
        self.release(come.iter().map(|bytes| bytes.len() as u32).sum());
    }
}
