//! A stream's two halves, each with whoever uses it: what the client says, and what is said to it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, StatusCode};

use super::core::Core;
use crate::proxy::message::Headers;

/// A connection's state, with its task and with each of its streams. They all run on one thread.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Core>>);

impl Shared {
    pub(super) fn new(core: Core) -> Self {
        Self(Arc::new(Mutex::new(core)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that has begun.
    pub(super) fn halves(&self, id: u32) -> (Incoming, Outgoing) {
        (Incoming { shared: self.clone(), id }, Outgoing { shared: self.clone(), id })
    }
}

/// A request's body. Dropped before its end, the rest of it is not wanted.
#[derive(Debug)]
pub struct Incoming {
    shared: Shared,
    id: u32,
}

impl Incoming {
    /// The next piece; none behind the last one. An error: the stream is reset.
    pub fn poll_data(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        self.shared.lock().poll_come(self.id, cx)
    }

    /// Behind the last piece.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.shared.lock().trailers(self.id)
    }

    /// What is still to be taken, if it was announced.
    pub fn left(&self) -> Option<u64> {
        self.shared.lock().left_of(self.id)
    }

    /// Whether nothing more comes.
    pub fn is_end(&self) -> bool {
        self.shared.lock().is_heard(self.id)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.lock().unheard(self.id);
    }
}

/// An answer. Dropped before its end, the stream is reset.
#[derive(Debug)]
pub struct Outgoing {
    shared: Shared,
    id: u32,
}

impl Outgoing {
    /// A head, of the answer or of one before it (RFC 9110, section 15.2).
    pub fn head(&mut self, status: StatusCode, fields: &Headers, ends: bool) {
        self.shared.lock().say_head(self.id, status, fields, ends);
    }

    /// How much may be [said](Self::data) now. An error: the stream is reset.
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<Result<usize, Reason>> {
        self.shared.lock().poll_room(self.id, cx)
    }

    /// A piece for which there is room; one of nothing needs none.
    pub fn data(&mut self, data: Bytes, ends: bool) {
        self.shared.lock().say(self.id, data, ends);
    }

    /// The end.
    pub fn trailers(&mut self, fields: &HeaderMap) {
        self.shared.lock().say_trailers(self.id, fields);
    }

    /// The answer breaks off.
    pub fn reset(&mut self, reason: Reason) {
        self.shared.lock().break_off(self.id, reason);
    }

    /// Ready once the stream is reset, or its connection has ended.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.shared.lock().poll_reset(self.id, cx)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.lock().unsaid(self.id);
    }
}
