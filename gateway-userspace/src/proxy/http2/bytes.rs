//! A stream that has become a tunnel (RFC 9113, section 8.5): bytes both ways in DATA frames, each side's end as END_STREAM.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handle::{Incoming, Outgoing};

/// Both directions. Dropped before they have ended, the stream is reset.
pub(super) struct Both {
    outgoing: Outgoing,
    incoming: Incoming,
    /// What has come and was not read yet.
    held: Bytes,
}

impl Both {
    pub(super) fn new(outgoing: Outgoing, incoming: Incoming) -> Self {
        Self { outgoing, incoming, held: Bytes::new() }
    }
}

fn failed(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, reason.description())
}

impl AsyncRead for Both {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { incoming, held, .. } = self.get_mut();
        while held.is_empty() {
            match ready!(incoming.poll_data(cx)) {
                Some(data) => *held = data.map_err(failed)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = held.len().min(buf.remaining());
        buf.put_slice(&held[..count]);
        held.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Both {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { outgoing, .. } = self.get_mut();
        let room = ready!(outgoing.poll_room(cx)).map_err(failed)?;
        let count = room.min(bytes.len());
        outgoing.data(Bytes::copy_from_slice(&bytes[..count]), false);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().outgoing.data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}
