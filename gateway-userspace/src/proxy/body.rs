//! Bodies on their way through, in both directions, with what has to be known when they end.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    gate::Timer,
    headers,
    received::Received,
    tunnel::Tunnel,
    upstream::{Lease, Link, Lost},
};

/// How far a request's body has come.
#[derive(Debug, Default)]
pub struct Upload {
    frames: AtomicU64,
    complete: AtomicBool,
    fault: OnceLock<BodyFault>,
}

/// Why a request's body never became whole: the client's fault, all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The gate found its chunks broken.
    Malformed,
    /// The client sent nothing for too long.
    Stalled,
    /// The client's connection ended or failed within it.
    BrokenOff,
    /// It is larger than its route allows.
    TooLarge,
}

impl Upload {
    /// Pieces so far: changes with progress.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether the upstream has all of it.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// What went wrong on the client's side, if anything did.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault.get().copied()
    }

    fn note_fault(&self, error: &UploadError) {
        let fault = match error {
            UploadError::Client(error) => match error.kind() {
                io::ErrorKind::InvalidData => BodyFault::Malformed,
                io::ErrorKind::TimedOut => BodyFault::Stalled,
                _ => BodyFault::BrokenOff,
            },
            UploadError::Stream(_) => BodyFault::BrokenOff,
            UploadError::Stalled => BodyFault::Stalled,
            UploadError::TooLarge => BodyFault::TooLarge,
        };
        self.fault.get_or_init(|| fault);
    }
}

/// A request's body on its way to the upstream.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// As it comes from the client.
    Client(ClientBody),
}

/// What a client sends.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Received,
    upload: Arc<Upload>,
    timer: Timer,
    stall: Option<Duration>,
    trailers: Trailers,
    /// What may still come.
    left: u64,
}

/// What becomes of fields behind a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trailers {
    /// Upstreams of HTTP/1.1 take them for fields of the head at times.
    Dropped,
    Passed,
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client's connection failed or ended early.
    #[error("the request's body broke off")]
    Client(#[source] io::Error),
    /// The client's stream did, or it was reset.
    #[error("the request's body broke off: {0}")]
    Stream(#[source] h2::Error),
    /// Nothing came for too long.
    #[error("the client stopped sending its body")]
    Stalled,
    /// More came than the route allows.
    #[error("the request's body is larger than its route allows")]
    TooLarge,
}

impl ClientBody {
    /// `stall`: how long may nothing come, where nobody else sees to it; `most`: how much may come.
    pub fn new(incoming: Received, stall: Option<Duration>, most: Option<u64>) -> Self {
        Self {
            incoming,
            upload: Arc::default(),
            timer: Timer::default(),
            stall,
            trailers: Trailers::Dropped,
            left: most.unwrap_or(u64::MAX),
        }
    }

    /// Trailers go on.
    pub fn pass_trailers(&mut self) {
        self.trailers = Trailers::Passed;
    }

    /// How far it has come.
    pub fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadError> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.left = self.left.checked_sub(bytes).ok_or(UploadError::TooLarge)?;
        Ok(frame)
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => match self.stall {
                Some(stall) if self.timer.expired(cx, stall) => Poll::Ready(Some(Err(UploadError::Stalled))),
                _ => Poll::Pending,
            },
            Poll::Ready(frame) => {
                self.timer.disarm();
                Poll::Ready(frame.map(|frame| frame.and_then(|frame| self.count(frame))))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Self::Client(body) = self.get_mut() else { return Poll::Ready(None) };
        let frame = match ready!(body.poll_incoming(cx)) {
            Some(Ok(frame)) if frame.is_data() => Some(Ok(frame)),
            Some(Ok(frame)) if body.trailers == Trailers::Passed => with_trailers(frame).map(Ok),
            Some(Err(error)) => {
                body.upload.note_fault(&error);
                return Poll::Ready(Some(Err(error)));
            }
            Some(Ok(_)) | None => None,
        };
        body.upload.frames.fetch_add(1, Ordering::Relaxed);
        let is_last = frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        if is_last || body.incoming.is_end_stream() {
            body.upload.complete.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
        }
    }
}

/// Trailers that may go on.
fn with_trailers(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    let mut trailers = frame.into_trailers().ok()?;
    headers::trailers(&mut trailers);
    (!trailers.is_empty()).then(|| Frame::trailers(trailers))
}

/// An answer's body.
#[derive(Debug)]
pub enum ResponseBody {
    /// None.
    Empty,
    /// Of our own; None once it is on its way.
    Document(Option<Bytes>),
    /// As it comes from the upstream.
    Upstream(UpstreamBody),
    /// None, and the connection becomes this behind the head.
    Tunnel(Box<Tunnel>),
}

/// What an upstream sends, and the connection it comes on, which goes back to the pool when all has come.
#[derive(Debug)]
pub struct UpstreamBody {
    /// Its stream, if others use the connection as well.
    stream: Option<Incoming>,
    lease: Option<Lease>,
    timer: Timer,
    stall: Duration,
}

/// Why an answer broke off. The client's connection ends then, so that a part is never taken for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream's connection failed or ended early.
    #[error("the upstream's answer broke off")]
    Broken(#[source] Lost),
    /// The same of HTTP/2.
    #[error("the upstream's answer broke off")]
    Reset(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the upstream stopped sending its answer")]
    Stalled,
}

impl UpstreamBody {
    /// `stall`: how long may nothing come; `stream`: what it comes by, where that is not the connection itself.
    pub fn new(stream: Option<Incoming>, lease: Lease, stall: Duration) -> Self {
        let mut body = Self { stream, lease: Some(lease), timer: Timer::default(), stall };
        body.release_at_end();
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(stream) = &mut self.stream {
            return Pin::new(stream).poll_frame(cx).map_err(BodyError::Reset);
        }
        match self.lease.as_mut().and_then(Lease::link_mut) {
            Some(link) => link.poll_frame(cx).map_err(BodyError::Broken),
            None => Poll::Ready(None),
        }
    }

    fn is_over(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.is_end_stream(),
            None => self.lease.as_ref().is_none_or(|lease| lease.link().is_none_or(Link::is_over)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(stream) => stream.size_hint(),
            None => {
                let link = self.lease.as_ref().and_then(Lease::link);
                link.map_or(SizeHint::with_exact(0), Link::size_hint)
            }
        }
    }

    fn release_at_end(&mut self) {
        if self.is_over() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl ResponseBody {
    /// What the connection becomes, if it does; nothing is left of it.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        if !matches!(self, Self::Tunnel(_)) {
            return None;
        }
        match std::mem::replace(self, Self::Empty) {
            Self::Tunnel(tunnel) => Some(tunnel),
            _ => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = match self.get_mut() {
            Self::Empty | Self::Tunnel(_) => return Poll::Ready(None),
            Self::Document(document) => {
                return Poll::Ready(document.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Upstream(body) => body,
        };
        match body.poll(cx) {
            Poll::Pending if body.timer.expired(cx, body.stall) => Poll::Ready(Some(Err(BodyError::Stalled))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                body.timer.disarm();
                body.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => {
                body.release();
                Poll::Ready(with_trailers(frame).map(Ok))
            }
            Poll::Ready(None) => {
                body.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel(_) => true,
            Self::Document(document) => document.is_none(),
            Self::Upstream(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Tunnel(_) => SizeHint::with_exact(0),
            Self::Document(document) => SizeHint::with_exact(document.as_ref().map_or(0, Bytes::len) as u64),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
