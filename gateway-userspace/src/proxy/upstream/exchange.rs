//! One request to one of a route's upstreams, and the head of its answer.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    choose::Set,
    cluster::{Choice, Cluster},
    connect::Connector,
    kept::{Lease, Link, Pool},
    limit::Busy,
    peer::Flight,
};
use crate::proxy::body::{BodyFault, RequestBody, Upload};

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
    /// As many requests are in flight and wait as the upstream gets at once.
    #[error("as much is on its way to the upstream as it gets at once")]
    Busy,
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

    /// Whether it tells something of the upstream.
    fn is_of_upstream(&self) -> bool {
        !matches!(self, Self::Body(_) | Self::Busy)
    }

    /// Whether the upstream had no work with it.
    fn is_free(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout)
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::Unasked => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::AnswerTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
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

/// Sends `request` to one of the cluster's upstreams.
///
/// A kept connection may have died unseen: then the request goes once more, on a new connection, if none of it was sent, or if it
/// is idempotent, has no body, and nothing was heard (RFC 9110, section 9.2.2). On the same conditions it goes to another upstream,
/// while the budget allows; if the first one took no connection, in any case.
///
/// # Errors
/// See [`Fault`].
pub async fn exchange(
    cluster: &Cluster,
    mut request: Request<RequestBody>,
    pool: &Pool,
    connector: &Connector,
    patience: Duration,
) -> Result<(Response<Incoming>, Lease), Fault> {
    cluster.earn(pool);
    let by = cluster.by(request.headers(), pool);
    let mut tried = Set::EMPTY;
    let mut fault = None;
    while let Some(choice) = cluster.choose(by, tried, pool) {
        if let Some(fault) = fault.take_if(|fault: &mut Fault| !fault.is_free() && !cluster.spend(pool)) {
            return Err(fault);
        }
        match attempt(cluster, choice, request, pool, connector, patience).await {
            Ok((response, lease)) => {
                match response.status().is_server_error() {
                    true => cluster.note_failure(choice, pool),
                    false => cluster.note_success(choice, pool),
                }
                return Ok((response, lease));
            }
            Err(failed) => {
                if failed.fault.is_of_upstream() {
                    cluster.note_failure(choice, pool);
                }
                match failed.again {
                    Some(again) => request = *again,
                    None => return Err(failed.fault),
                }
                fault = Some(failed.fault);
                tried = choice.added_to(tried);
            }
        }
    }
    Err(fault.unwrap_or_else(|| Fault::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

struct Failed {
    fault: Fault,
    /// The request, if it may be sent again.
    again: Option<Box<Request<RequestBody>>>,
}

/// One upstream's turn: on a kept connection, and if that fails unheard, on a new one.
async fn attempt(
    cluster: &Cluster,
    choice: Choice,
    mut request: Request<RequestBody>,
    pool: &Pool,
    connector: &Connector,
    patience: Duration,
) -> Result<(Response<Incoming>, Lease), Failed> {
    // Connecting counts as in flight: an upstream that is slow to accept is loaded.
    let enter = || async {
        cluster.enter(choice, pool).await.map_err(|Busy| Failed { fault: Fault::Busy, again: None })
    };
    let mut flight = enter().await?;
    if let Some(link) = flight.part().kept.take() {
        match send(link, request, flight, patience).await {
            Err(Failed { again: Some(again), .. }) => request = *again,
            done => return done,
        }
        flight = enter().await?;
    }
    match connector.connect(&cluster.peer(choice).upstream).await {
        Ok(link) => send(link, request, flight, patience).await,
        Err(fault) => Err(Failed { fault, again: Some(Box::new(request)) }),
    }
}

async fn send(
    mut link: Link,
    request: Request<RequestBody>,
    flight: Flight,
    patience: Duration,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let upload = match request.body() {
        RequestBody::Empty => None,
        RequestBody::Client(body) => Some(Arc::clone(body.upload())),
    };
    let replay = Again::of(&request);
    let before = link.heard.get();
    let answer = link.sender.try_send_request(request);
    let response = match within(patience, upload.as_deref(), answer).await {
        Some(Ok(response)) => response,
        Some(Err(mut error)) => {
            let unsent = error.take_message();
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::of(error.into_error()),
            };
            let unheard = matches!(fault, Fault::Exchange(_)) && link.heard.get() == before;
            let again = unsent.or_else(|| replay.filter(|_| unheard).map(Again::request));
            return Err(Failed { fault, again: again.map(Box::new) });
        }
        None => return Err(Failed { fault: Fault::AnswerTimeout, again: None }),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failed { fault: Fault::Unasked, again: None });
    }
    Ok((response, Lease { link, flight, upload }))
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
