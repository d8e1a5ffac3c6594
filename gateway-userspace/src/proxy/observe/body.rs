//! An answer's body on its way to the client: at its end the request is over, and counted and logged.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{Request, Tunnelled};
use crate::proxy::{
    body::{BodyError, ResponseBody},
    tunnel::Tunnel,
};

/// A body that is watched.
pub struct ObservedBody {
    body: ResponseBody,
    /// Dropped, it is told that the answer ended there. None: the connection has become a tunnel.
    request: Option<Request>,
}

impl ObservedBody {
    pub(super) fn new(body: ResponseBody, mut request: Request) -> Self {
        request.is_whole = body.is_end_stream();
        Self { body, request: Some(request) }
    }

    /// What the connection becomes, if it does.
    pub fn take_tunnel(&mut self) -> Option<(Box<Tunnel>, Tunnelled)> {
        let tunnel = self.body.take_tunnel()?;
        Some((tunnel, Tunnelled::new(self.request.take()?)))
    }
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, request } = self.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let Some(request) = request else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                request.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                request.is_whole = body.is_end_stream();
            }
            Some(Err(_)) => {}
            None => request.is_whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
