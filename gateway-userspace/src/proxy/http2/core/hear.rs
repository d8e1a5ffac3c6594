//! What a client says, and what becomes of it. An error ends the connection.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::HeaderMap;

use super::{Core, KNOWS, Stage, Stream, keep};
use crate::proxy::http2::{
    frame::{self, Said, WIDEST},
    head::{Asked, Fields, length},
};

/// What is allocated at least for what has come: many small pieces take no more than they are.
const LITTLE: usize = 1024;

impl Stream {
    /// Until it is taken.
    fn keep(&mut self, bytes: &[u8]) {
        let last = self.come.back_mut().filter(|last| last.capacity() - last.len() >= bytes.len());
        match last {
            Some(last) => last.extend_from_slice(bytes),
            None => {
                let mut come = BytesMut::with_capacity(bytes.len().max(LITTLE));
                come.extend_from_slice(bytes);
                self.come.push_back(come);
            }
        }
    }
}

impl Core {
    /// What is neither fields nor of no concern.
    pub(in super::super) fn hear(&mut self, said: &Said<'_>) -> Result<(), Reason> {
        match *said {
            Said::Data { stream, flow, unused, bytes, ends } => {
                return self.hear_data(stream, flow, unused, bytes, ends);
            }
            Said::Reset { stream: id, reason } => {
                self.known(id)?;
                if let Some(stream) = self.live(id) {
                    stream.reset = Some(reason);
                    self.closed(id);
                }
            }
            Said::Settings(settings) => {
                for window in settings.windows() {
                    self.change_windows(window?)?;
                }
                frame::settled(self.output.frames());
            }
            Said::Settled if !std::mem::take(&mut self.unsettled) => return Err(Reason::PROTOCOL_ERROR),
            Said::Ping(data) => frame::ping(frame::ACK, data, self.output.frames()),
            Said::Pong(KNOWS) if self.stage == Stage::Leaving => self.left(),
            Said::Window { stream: 0, by } => {
                self.window = widened(self.window, by.into()).ok_or(Reason::FLOW_CONTROL_ERROR)?;
                self.next_in_turn();
            }
            Said::Window { stream: id, by } => {
                self.known(id)?;
                let Some(stream) = self.live(id) else { return Ok(()) };
                match widened(stream.window, by.into()) {
                    Some(window) => {
                        stream.window = window;
                        stream.says.take().into_iter().for_each(Waker::wake);
                    }
                    None => self.reset(id, Reason::FLOW_CONTROL_ERROR),
                }
            }
            Said::Wrong { stream, reason } => {
                self.known(stream).map_err(|_| reason)?;
                self.reset(stream, reason);
            }
            Said::Settled | Said::Pong(_) | Said::Fields { .. } | Said::Part | Said::Else => {}
        }
        Ok(())
    }

    /// A stream that was never begun has nothing to say.
    fn known(&self, id: u32) -> Result<(), Reason> {
        if !id.is_multiple_of(2) && id <= self.last { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) }
    }

    /// Section 6.9.2: of streams that are open too, and then perhaps below nothing.
    fn change_windows(&mut self, first: u32) -> Result<(), Reason> {
        let change = i64::from(first) - self.first_window;
        self.first_window = first.into();
        for stream in &mut self.streams {
            stream.window = widened(stream.window, change).ok_or(Reason::FLOW_CONTROL_ERROR)?;
            stream.says.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    fn hear_data(&mut self, id: u32, flow: u32, unused: u32, bytes: &[u8], ends: bool) -> Result<(), Reason> {
        self.known(id)?;
        self.allowed -= i64::from(flow);
        if self.allowed < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let count = bytes.len() as u32;
        let Some(stream) = self.live(id) else {
            self.release(count + unused);
            if flow > 0 && !self.forgotten.contains(&id) {
                frame::reset(id, Reason::STREAM_CLOSED, self.output.frames());
            }
            return Ok(());
        };
        stream.allowed -= i64::from(flow);
        stream.read += unused;
        let left = stream.length.map(|left| left.checked_sub(count.into()));
        let wrong = match left {
            _ if stream.asked => Some(Reason::STREAM_CLOSED),
            _ if stream.allowed < 0 => Some(Reason::FLOW_CONTROL_ERROR),
            // Section 8.1.1: more or less than was announced.
            Some(None) => Some(Reason::PROTOCOL_ERROR),
            Some(Some(1..)) if ends => Some(Reason::PROTOCOL_ERROR),
            _ => None,
        };
        if let Some(reason) = wrong {
            self.release(count + unused);
            self.reset(id, reason);
            return Ok(());
        }
        stream.length = left.flatten();
        stream.asked = ends;
        let unheard = stream.unheard;
        if !unheard && count > 0 {
            stream.keep(bytes);
        }
        stream.hears.take().into_iter().for_each(Waker::wake);
        self.release(if unheard { count + unused } else { unused });
        Ok(())
    }

    /// Fields of a request, which is returned, or trailers.
    pub(in super::super) fn hear_fields(
        &mut self,
        id: u32,
        fields: Fields,
        ends: bool,
        wrong: bool,
    ) -> Result<Option<Asked>, Reason> {
        if id.is_multiple_of(2) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if id <= self.last {
            return self.hear_trailers(id, fields, ends && !wrong).map(|()| None);
        }
        self.last = id;
        let open = self.streams.iter().filter(|stream| !stream.is_closed()).count();
        let most = self.limits.streams as usize;
        if self.streams.len() >= most + self.limits.reset_streams {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        if open >= most || self.stage == Stage::Left {
            self.reset(id, Reason::REFUSED_STREAM);
            return Ok(None);
        }
        let asked = fields.request().ok().filter(|_| !wrong);
        let length = asked.as_ref().and_then(|asked| length(&asked.request.head.headers));
        match asked {
            Some(asked) if !ends || length.is_none_or(|length| length == 0) => {
                let allowed = self.limits.stream_window;
                self.streams.push(Stream::new(id, self.first_window, allowed, length, ends));
                Ok(Some(asked))
            }
            _ => {
                self.reset(id, Reason::PROTOCOL_ERROR);
                Ok(None)
            }
        }
    }

    fn hear_trailers(&mut self, id: u32, fields: Fields, is_right: bool) -> Result<(), Reason> {
        let forgotten = self.forgotten.contains(&id);
        let Some(stream) = self.live(id) else {
            return if forgotten { Ok(()) } else { Err(Reason::STREAM_CLOSED) };
        };
        let is_whole = stream.length.is_none_or(|left| left == 0);
        match fields.trailers() {
            _ if stream.asked => self.reset(id, Reason::STREAM_CLOSED),
            Ok(trailers) if is_right && is_whole => {
                stream.trailers = Some(trailers).filter(|_| !stream.unheard);
                stream.asked = true;
                stream.hears.take().into_iter().for_each(Waker::wake);
            }
            _ => self.reset(id, Reason::PROTOCOL_ERROR),
        }
        Ok(())
    }

    // Who takes it.

    /// The next piece of a request's body; none behind the last one. An error: the stream is reset.
    pub(in super::super) fn poll_come(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, Reason>>> {
        let window = self.limits.stream_window;
        let Some(stream) = self.stream(id) else { return Poll::Ready(None) };
        if let Some(reason) = stream.reset {
            return Poll::Ready(Some(Err(reason)));
        }
        let Some(bytes) = stream.come.pop_front() else {
            if stream.asked {
                return Poll::Ready(None);
            }
            keep(&mut stream.hears, cx);
            return Poll::Pending;
        };
        let count = bytes.len() as u32;
        stream.read += count;
        if stream.read >= window / 2 && !stream.asked {
            let read = std::mem::take(&mut stream.read);
            stream.allowed += i64::from(read);
            frame::window(id, read, self.output.frames());
            self.wake();
        }
        self.release(count);
        Poll::Ready(Some(Ok(bytes.freeze())))
    }

    /// Behind the last piece.
    pub(in super::super) fn trailers(&mut self, id: u32) -> Option<HeaderMap> {
        self.stream(id)?.trailers.take()
    }

    /// What of a body is still to be taken, if it was announced.
    pub(in super::super) fn left_of(&mut self, id: u32) -> Option<u64> {
        let stream = self.stream(id)?;
        Some(stream.length? + stream.come.iter().map(|bytes| bytes.len() as u64).sum::<u64>())
    }

    /// Whether nothing more comes.
    pub(in super::super) fn is_heard(&mut self, id: u32) -> bool {
        self.stream(id)
            .is_none_or(|stream| stream.asked && stream.come.is_empty() && stream.trailers.is_none())
    }

    /// Nobody wants to hear more.
    pub(in super::super) fn unheard(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else { return };
        stream.unheard = true;
        let is_left = stream.answered && !stream.is_closed();
        self.discard(id);
        if is_left {
            self.reset(id, Reason::NO_ERROR);
        }
        self.sweep(id);
    }
}

/// None: wider than windows may be.
fn widened(window: i64, by: i64) -> Option<i64> {
    Some(window + by).filter(|window| *window <= WIDEST)
}
