//! A stream that has become a tunnel (RFC 9113, section 8.5): bytes both ways in DATA frames, each side's end as END_STREAM.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is sent at once.
const MOST: usize = 16 * 1024;

/// Both directions. Dropped before they have ended, the stream is reset.
pub(super) struct Both {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has come and was not read yet.
    held: Bytes,
}

impl Both {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { send, receive, held: Bytes::new() }
    }
}

fn failed(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for Both {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { receive, held, .. } = self.get_mut();
        while held.is_empty() {
            match ready!(receive.poll_data(cx)) {
                Some(data) => *held = data.map_err(failed)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = held.len().min(buf.remaining());
        buf.put_slice(&held[..count]);
        held.advance(count);
        receive.flow_control().release_capacity(count).map_err(failed)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Both {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { send, .. } = self.get_mut();
        send.reserve_capacity(bytes.len().min(MOST));
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(capacity) => capacity.map_err(failed)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let count = send.capacity().min(bytes.len());
        send.send_data(Bytes::copy_from_slice(&bytes[..count]), false).map_err(failed)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().send.send_data(Bytes::new(), true).map_err(failed))
    }
}
