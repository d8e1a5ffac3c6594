//! A request's body as a client's connection brings it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::body::UploadError;

/// By the way it comes.
#[derive(Debug)]
pub enum Received {
    /// It has none.
    Nothing,
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Stream(Stream),
}

/// A stream of HTTP/2.
#[derive(Debug)]
pub struct Stream {
    stream: RecvStream,
    /// What is still to come, if it was announced. h2 sees to it that it does.
    left: Option<u64>,
    /// Is told once something of it is wanted and nothing is there.
    waits: Option<Arc<Notify>>,
}

impl Stream {
    /// Below a head with these fields; `waits` is told that the client shall go on, if it waits for that.
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap, waits: Option<Arc<Notify>>) -> Self {
        let left = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, left, waits }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match self.stream.poll_data(cx) {
            Poll::Pending => {
                if let Some(waits) = self.waits.take() {
                    waits.notify_one();
                }
                Poll::Pending
            }
            Poll::Ready(Some(data)) => Poll::Ready(Some(data.and_then(|data| {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                self.stream.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            }))),
            Poll::Ready(None) => {
                let trailers = ready!(self.stream.poll_trailers(cx)).transpose();
                Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
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
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(UploadError::Client)))
            }
            Self::Stream(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|f| f.map_err(UploadError::Stream)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Stream(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Stream(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
