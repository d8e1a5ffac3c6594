//! What is said to a client, each stream in its turn.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, StatusCode};

use super::{Core, Stage, Stream, keep};
use crate::proxy::{
    http2::{
        frame::{self, LONGEST},
        hpack,
    },
    message::Headers,
};

impl Core {
    /// The head of an answer, or of one that tells how it is going.
    pub(in super::super) fn say_head(&mut self, id: u32, status: StatusCode, fields: &Headers, ends: bool) {
        if self.unanswered(id).is_some() {
            let is_first = !std::mem::replace(&mut self.nothing_is_remembered, true);
            frame::fields(id, ends, self.output.frames(), |block| {
                if is_first {
                    block.push(hpack::NOTHING_IS_REMEMBERED);
                }
                hpack::answer(status, fields.iter(), block);
            });
            self.said(id, ends);
        }
    }

    /// The end of an answer.
    pub(in super::super) fn say_trailers(&mut self, id: u32, fields: &HeaderMap) {
        if self.unanswered(id).is_some() {
            frame::fields(id, true, self.output.frames(), |block| hpack::fields(fields.iter(), block));
            self.said(id, true);
        }
    }

    /// A piece of an answer, for which there is [room](Self::poll_room).
    pub(in super::super) fn say(&mut self, id: u32, data: Bytes, ends: bool) {
        let count = data.len() as i64;
        let Some(stream) = self.unanswered(id) else { return };
        stream.window -= count;
        self.window -= count;
        self.output.data(id, data, ends);
        self.said(id, ends);
        self.next_in_turn();
    }

    fn unanswered(&mut self, id: u32) -> Option<&mut Stream> {
        self.live(id).filter(|stream| !stream.answered)
    }

    fn said(&mut self, id: u32, ends: bool) {
        if ends && let Some(stream) = self.stream(id) {
            stream.answered = true;
            if stream.unheard && !stream.asked {
                self.reset(id, Reason::NO_ERROR);
            }
        }
        self.wake();
    }

    /// How much of a piece may be said now, a frame at most. An error: the stream is reset.
    pub(in super::super) fn poll_room(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<usize, Reason>> {
        let shared = self.window.min(LONGEST as i64);
        let is_full = shared <= 0 || self.output.len() >= self.limits.buffer_bytes;
        let in_turn = self.queue.front().is_none_or(|first| *first == id);
        let waits = self.queue.contains(&id);
        let Some(stream) = self.stream(id) else { return Poll::Ready(Err(Reason::CANCEL)) };
        if let Some(reason) = stream.reset {
            return Poll::Ready(Err(reason));
        }
        let room = stream.window.min(shared);
        let is_narrow = stream.window <= 0;
        if is_narrow || is_full || !in_turn {
            keep(&mut stream.says, cx);
        }
        if is_narrow {
            self.leave_queue(id);
            self.next_in_turn();
            return Poll::Pending;
        }
        if is_full || !in_turn {
            if !waits {
                self.queue.push_back(id);
            }
            return Poll::Pending;
        }
        self.leave_queue(id);
        Poll::Ready(Ok(room as usize))
    }

    /// Lets the next one have a frame's room, if there is some.
    pub(in super::super) fn next_in_turn(&mut self) {
        if self.window <= 0 || self.output.len() >= self.limits.buffer_bytes {
            return;
        }
        let first = self.queue.front().copied();
        if let Some(says) = first.and_then(|first| self.stream(first)?.says.take()) {
            says.wake();
        }
    }

    fn leave_queue(&mut self, id: u32) {
        if let Some(place) = self.queue.iter().position(|waits| *waits == id) {
            self.queue.remove(place);
        }
    }

    /// Ready once the stream is reset, or its connection has ended.
    pub(in super::super) fn poll_reset(&mut self, id: u32, cx: &Context<'_>) -> Poll<()> {
        let Some(stream) = self.stream(id) else { return Poll::Ready(()) };
        if stream.reset.is_some() {
            return Poll::Ready(());
        }
        keep(&mut stream.says, cx);
        Poll::Pending
    }

    /// The answer breaks off.
    pub(in super::super) fn break_off(&mut self, id: u32, reason: Reason) {
        if self.unanswered(id).is_some() {
            self.reset(id, reason);
        }
    }

    /// Nobody says more.
    pub(in super::super) fn unsaid(&mut self, id: u32) {
        self.break_off(id, Reason::CANCEL);
        self.leave_queue(id);
        self.next_in_turn();
        if let Some(stream) = self.stream(id) {
            stream.unsaid = true;
        }
        self.sweep(id);
    }

    /// A stream that nobody cares for is none any more.
    pub(super) fn sweep(&mut self, id: u32) {
        let Some(place) = self.place(id) else { return };
        let stream = &self.streams[place];
        if stream.unheard && stream.unsaid {
            self.streams.remove(place);
            if self.streams.is_empty() {
                self.streams = Vec::new();
            }
            if self.stage == Stage::Left {
                self.wake();
            }
        }
    }
}
