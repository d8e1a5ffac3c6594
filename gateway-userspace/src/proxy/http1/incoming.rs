//! A request's body as it comes on the connection, for whoever passes it on.

use std::{
    fmt, io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, Shared, lock};

/// The body of one request.
pub struct Incoming {
    from: Arc<dyn Source>,
    /// Of which request.
    turn: u64,
}

/// A connection, whatever it goes over.
trait Source: Send + Sync {
    fn poll_frame(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// What is still to come, if that is known.
    fn left(&self, turn: u64) -> Option<u64>;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Source for Mutex<Connection<S>> {
    fn poll_frame(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut connection = lock(self);
        match connection.turn() == turn {
            true => connection.poll_frame(cx),
            // The answer is over, and what was left of the body with it.
            false => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    fn left(&self, turn: u64) -> Option<u64> {
        let connection = lock(self);
        if connection.turn() == turn { connection.left() } else { None }
    }
}

impl Incoming {
    /// Of the request that was read last.
    pub(super) fn new<S>(connection: &Shared<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let turn = lock(connection).turn();
        Self { from: Arc::clone(connection) as Arc<dyn Source>, turn }
    }

    /// The next piece of it, or what is behind it; None: it is over.
    pub(in crate::proxy) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.from.poll_frame(self.turn, cx)
    }

    /// What is still to come, if that is known.
    pub(in crate::proxy) fn left(&self) -> Option<u64> {
        self.from.left(self.turn)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("turn", &self.turn).finish_non_exhaustive()
    }
}
