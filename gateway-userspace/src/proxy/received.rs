//! A request's body as a client's connection brings it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::Reason;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use super::{body::UploadError, http1, http2};

/// By the way it comes.
#[derive(Debug, Default)]
pub enum Received {
    /// It has none.
    #[default]
    Nothing,
    /// Over HTTP/1.1.
    Http1(http1::Incoming),
    /// Over HTTP/2.
    Stream(Stream),
}

/// A stream of HTTP/2.
#[derive(Debug)]
pub struct Stream {
    incoming: http2::Incoming,
    /// Is told once something of it is wanted and nothing is there.
    waits: Option<Arc<Notify>>,
}

impl Stream {
    /// `waits` is told that the client shall go on, if it waits for that.
    pub(super) fn new(incoming: http2::Incoming, waits: Option<Arc<Notify>>) -> Self {
        Self { incoming, waits }
    }

    fn poll_frame(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        match self.incoming.poll_data(cx) {
            Poll::Pending => {
                if let Some(waits) = self.waits.take() {
                    waits.notify_one();
                }
                Poll::Pending
            }
            Poll::Ready(Some(data)) => Poll::Ready(Some(data.map(Frame::data))),
            Poll::Ready(None) => {
                Poll::Ready(self.incoming.trailers().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Http1(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|f| f.map_err(UploadError::Client)))
            }
            Self::Stream(body) => {
                // As an error of h2, by which an upstream of HTTP/2 is told the same.
                body.poll_frame(cx)
                    .map(|frame| frame.map(|f| f.map_err(|why| UploadError::Stream(why.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1(body) => body.left() == Some(0),
            Self::Stream(body) => body.incoming.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http1(body) => hint(body.left()),
            Self::Stream(body) => hint(body.incoming.left()),
        }
    }
}

fn hint(left: Option<u64>) -> SizeHint {
    left.map_or_else(SizeHint::default, SizeHint::with_exact)
}
