//! One request to one of a route's upstreams, and the head of its answer.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    connect::Connector,
    pool::{Lease, Link, Pool},
};
use crate::{
    model::{Route, Upstream},
    proxy::body::{BodyFault, RequestBody, Upload},
};

/// Why there is no answer. What the client gets is decided by [`Fault::status`] alone.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection failed, or what came is no HTTP.
    #[error("no answer: {0}")]
    Exchange(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer in time")]
    AnswerTimeout,
    /// An answer that nobody asked for.
    #[error("the upstream switched protocols unasked")]
    Unasked,
    /// The client's fault.
    #[error("the request's body is not whole")]
    Body(BodyFault),
}

impl Fault {
    /// A stalled write ends the connection with the error of a timeout.
    fn of(error: hyper::Error) -> Self {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match source.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => Self::AnswerTimeout,
            _ => Self::Exchange(error),
        }
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::Unasked => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::AnswerTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Body(BodyFault::Malformed | BodyFault::BrokenOff) => StatusCode::BAD_REQUEST,
            Self::Body(BodyFault::Stalled) => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// What a request without a body is made from again.
struct Again {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// Sends `request` to the first of the route's upstreams that takes a connection.
///
/// A kept connection may have died unseen: then the request goes once more, on a new connection, if none of it was sent, or if it
/// is idempotent, has no body, and nothing was heard (RFC 9110, section 9.2.2).
///
/// # Errors
/// See [`Fault`].
pub async fn exchange(
    route: &Route,
    mut request: Request<RequestBody>,
    pool: &Arc<Pool>,
    connector: &Connector,
    patience: Duration,
) -> Result<(Response<Incoming>, Lease), Fault> {
    let mut fault = None;
    for upstream in &route.upstream {
        if let Some(link) = pool.take(upstream) {
            let again = Again::of(&request);
            let before = link.heard.get();
            let heard = link.heard.clone();
            match send(link, request, upstream, pool, patience).await {
                Ok(answer) => return Ok(answer),
                Err(Failed { unsent: Some(unsent), .. }) => request = *unsent,
                Err(Failed { fault: Fault::Exchange(error), .. }) if heard.get() == before => match again {
                    Some(again) => request = again.request(),
                    None => return Err(Fault::Exchange(error)),
                },
                Err(Failed { fault, .. }) => return Err(fault),
            }
        }
        match connector.connect(upstream).await {
            Ok(link) => {
                return send(link, request, upstream, pool, patience).await.map_err(|failed| failed.fault);
            }
            Err(error) => fault = Some(error),
        }
    }
    Err(fault.unwrap_or_else(|| Fault::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

struct Failed {
    fault: Fault,
    /// The request, if nothing of it was sent.
    unsent: Option<Box<Request<RequestBody>>>,
}

async fn send(
    mut link: Link,
    request: Request<RequestBody>,
    upstream: &Upstream,
    pool: &Arc<Pool>,
    patience: Duration,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let upload = match request.body() {
        RequestBody::Empty => None,
        RequestBody::Client(_, upload) => Some(Arc::clone(upload)),
    };
    let answer = link.sender.try_send_request(request);
    let response = match within(patience, upload.as_deref(), answer).await {
        Some(Ok(response)) => response,
        Some(Err(mut error)) => {
            let unsent = error.take_message().map(Box::new);
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::of(error.into_error()),
            };
            return Err(Failed { fault, unsent });
        }
        None => return Err(Failed { fault: Fault::AnswerTimeout, unsent: None }),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failed { fault: Fault::Unasked, unsent: None });
    }
    let lease = Lease { link, pool: Arc::clone(pool), upstream: upstream.clone(), upload };
    Ok((response, lease))
}

/// Waits for an answer for `patience` after the last byte of the request's body: a long upload is no stall.
async fn within<T>(
    patience: Duration,
    upload: Option<&Upload>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let frames = upload.map(Upload::frames);
        match timeout(patience, answer.as_mut()).await {
            Ok(response) => return Some(response),
            Err(_) if upload.map(Upload::frames) != frames => {}
            Err(_) => return None,
        }
    }
}

impl Again {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let replayable = matches!(request.body(), RequestBody::Empty) && request.method().is_idempotent();
        replayable.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.version_mut() = Version::HTTP_11;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}
