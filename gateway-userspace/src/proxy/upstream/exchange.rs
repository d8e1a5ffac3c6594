//! One request to one of a route's upstreams, and the head of its answer.

use std::{error::Error, io, pin::pin, sync::Arc, time::Duration};

use http::StatusCode;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    choose::Set,
    cluster::{Choice, Cluster, View},
    connect::Connector,
    http1::{self, Link, Lost},
    kept::{Lease, Pool, Way},
    limit::Busy,
    peer::Flight,
    server::Server,
    shared::{self, Place},
};
use crate::proxy::{
    body::{BodyFault, RequestBody, Upload},
    message::{RequestHead, Response, ResponseHead},
    websocket,
};

/// Why there is no answer. What the client gets is decided by [`Fault::status`] alone.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The upstream's name leads nowhere.
    #[error("no address of the upstream is known")]
    NoAddress,
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection failed, or what came is no HTTP.
    #[error("no answer: {0}")]
    Lost(#[source] Lost),
    /// The same of HTTP/2.
    #[error("no answer: {0}")]
    Exchange(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer in time")]
    AnswerTimeout,
    /// An answer that nobody asked for.
    #[error("the upstream switched protocols unasked")]
    Unasked,
    /// A name that no authority of HTTP/2 can be.
    #[error("the request's Host cannot be sent over HTTP/2")]
    Host,
    /// As many requests are in flight and wait as the upstream gets at once.
    #[error("as much is on its way to the upstream as it gets at once")]
    Busy,
    /// The client's fault.
    #[error("the request's body is not whole")]
    Body(BodyFault),
}

impl Fault {
    /// A stalled write ends the connection with the error of a timeout.
    fn lost(lost: Lost) -> Self {
        match lost {
            Lost::Late => Self::AnswerTimeout,
            Lost::Io(error) if error.kind() == io::ErrorKind::TimedOut => Self::AnswerTimeout,
            lost => Self::Lost(lost),
        }
    }

    /// The same, and a ping that is not answered.
    fn of(error: hyper::Error) -> Self {
        let source = error.source();
        let http2 = source.and_then(|source| source.downcast_ref::<h2::Error>()).and_then(h2::Error::get_io);
        let io = http2.or_else(|| source.and_then(|source| source.downcast_ref()));
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => Self::AnswerTimeout,
            _ if error.is_timeout() => Self::AnswerTimeout,
            _ => Self::Exchange(error),
        }
    }

    /// Whether it tells something of the upstream.
    fn is_of_upstream(&self) -> bool {
        !matches!(self, Self::Body(_) | Self::Busy | Self::Host)
    }

    /// Whether the upstream had no work with it.
    fn is_free(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout)
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_) | Self::Lost(_) | Self::Exchange(_) | Self::Unasked => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::AnswerTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy | Self::NoAddress => StatusCode::SERVICE_UNAVAILABLE,
            Self::Host | Self::Body(BodyFault::Malformed | BodyFault::BrokenOff) => StatusCode::BAD_REQUEST,
            Self::Body(BodyFault::Stalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// An answer's head, and what has its body: the lease, or for HTTP/2 a stream.
pub type Answer = (Response<Option<Incoming>>, Lease);

/// Sends a request to one of the cluster's upstreams.
///
/// A kept connection may have died unseen: then the request goes once more, on a new connection, if none of it was sent, or if it
/// is idempotent, has no body, and nothing was heard (RFC 9110, section 9.2.2). On the same conditions it goes to another upstream,
/// while the budget allows; if the first one took no connection, in any case.
///
/// # Errors
/// See [`Fault`].
pub async fn exchange(
    cluster: &Cluster,
    head: &RequestHead,
    body: &mut RequestBody,
    pool: &Pool,
    connector: &Connector,
    patience: Duration,
) -> Result<Answer, Fault> {
    let cluster = &cluster.now().await;
    cluster.earn(pool);
    let by = cluster.by(&head.headers, pool);
    let mut tried = Set::EMPTY;
    let mut fault = None;
    while let Some(choice) = cluster.choose(by, tried, pool) {
        if let Some(fault) = fault.take_if(|fault: &mut Fault| !fault.is_free() && !cluster.spend(pool)) {
            return Err(fault);
        }
        // In its place, as those below: a future that is awaited is moved first.
        let answer = pin!(attempt(cluster, choice, head, body, pool, connector, patience)).await;
        match answer {
            Ok((response, lease)) => {
                lease.flight.part().count_answer(response.head.status);
                match response.head.status.is_server_error() {
                    true => cluster.note_failure(choice, pool),
                    false => cluster.note_success(choice, pool),
                }
                return Ok((response, lease));
            }
            Err(failed) => {
                if failed.fault.is_of_upstream() {
                    cluster.part(choice, pool).count_failure();
                    cluster.note_failure(choice, pool);
                }
                if !failed.may_go_again {
                    return Err(failed.fault);
                }
                fault = Some(failed.fault);
                tried = choice.added_to(tried);
            }
        }
    }
    Err(fault.unwrap_or(Fault::NoAddress))
}

struct Failed {
    fault: Fault,
    /// The request may be sent again, and its body is there as it was.
    may_go_again: bool,
}

/// One upstream's turn: on a kept connection, and if that fails unheard, on a new one.
async fn attempt(
    cluster: &View<'_>,
    choice: Choice,
    head: &RequestHead,
    body: &mut RequestBody,
    pool: &Pool,
    connector: &Connector,
    patience: Duration,
) -> Result<Answer, Failed> {
    // Connecting counts as in flight: an upstream that is slow to accept is loaded.
    let enter = || async {
        cluster.enter(choice, pool).await.map_err(|Busy| Failed { fault: Fault::Busy, may_go_again: false })
    };
    let server = &cluster.peer(choice).server;
    let mut flight = enter().await?;
    if server.upstream.scheme.is_http2() {
        return Box::pin(share(server, head, body, flight, connector, patience)).await;
    }
    if let Some(link) = flight.part().kept.take() {
        let answer = pin!(send(link, head, body, flight, patience)).await;
        match answer {
            Err(Failed { may_go_again: true, .. }) => {}
            done => return done,
        }
        flight = enter().await?;
    }
    let line = match cluster.line(choice) {
        Ok(line) => line,
        // There are as many requests as connections at most, so one of them waits at another worker.
        Err(Busy) => match cluster.peer(choice).spare() {
            Some(link) => return send(link, head, body, flight, patience).await,
            None => return Err(Failed { fault: Fault::Busy, may_go_again: false }),
        },
    };
    // Seldom, and large: a request's future is moved, and none of this is to be moved with it.
    match Box::pin(connector.connect(server)).await {
        Ok(link) => send(Box::new(link.with(line)), head, body, flight, patience).await,
        Err(fault) => Err(Failed { fault, may_go_again: true }),
    }
}

/// An upstream's turn over HTTP/2.
async fn share(
    server: &Server,
    head: &RequestHead,
    body: &mut RequestBody,
    flight: Flight,
    connector: &Connector,
    patience: Duration,
) -> Result<Answer, Failed> {
    match flight.part().shared.place(connector.connect_http2(server)).await {
        Ok(place) => send_shared(place, head, body, flight, patience).await,
        Err(fault) => Err(Failed { fault, may_go_again: true }),
    }
}

/// On a connection of its own.
async fn send(
    mut link: Box<Link>,
    head: &RequestHead,
    body: &mut RequestBody,
    flight: Flight,
    patience: Duration,
) -> Result<Answer, Failed> {
    let upload = upload_of(body);
    let answer = pin!(link.exchange(head, body, upload.as_deref(), patience)).await;
    match answer {
        Ok((answer, sending)) => {
            let lease = Lease { way: Way::Own(link), flight, upload, sending, admitted: None };
            agreed(head, answer, None, lease)
        }
        Err(http1::Failed { lost, was_heard }) => {
            let has_body = upload.is_some();
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::lost(lost),
            };
            let is_broken = matches!(fault, Fault::Lost(Lost::Io(_) | Lost::Ended));
            let may_go_again = is_broken && !was_heard && !has_body && head.method.is_idempotent();
            Err(Failed { fault, may_go_again })
        }
    }
}

/// On a connection that others use as well.
async fn send_shared(
    mut place: Place,
    head: &RequestHead,
    body: &mut RequestBody,
    flight: Flight,
    patience: Duration,
) -> Result<Answer, Failed> {
    let Some(request) = shared::to_http2(head, &place.0.scheme) else {
        return Err(Failed { fault: Fault::Host, may_go_again: false });
    };
    let upload = upload_of(body);
    if let RequestBody::Client(body) = body {
        body.pass_trailers();
    }
    let request = request.map(|()| std::mem::take(body));
    match within(patience, upload.as_deref(), place.0.sender.try_send_request(request)).await {
        Some(Ok(response)) => {
            let way = Way::Shared { _place: place };
            let lease = Lease { way, flight, upload, sending: None, admitted: None };
            let (parts, stream) = response.into_parts();
            let answer = ResponseHead { status: parts.status, reason: None, headers: parts.headers.into() };
            agreed(head, answer, Some(stream), lease)
        }
        Some(Err(mut error)) => {
            let unsent = error.take_message();
            let has_body = upload.is_some();
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::of(error.into_error()),
            };
            let may_go_again = unsent.is_some() || (!has_body && is_safe(head, &fault));
            if let Some(unsent) = unsent {
                *body = unsent.into_body();
            }
            Err(Failed { fault, may_go_again })
        }
        None => Err(Failed { fault: Fault::AnswerTimeout, may_go_again: false }),
    }
}

fn upload_of(body: &RequestBody) -> Option<Arc<Upload>> {
    match body {
        RequestBody::Empty => None,
        RequestBody::Client(body) => Some(Arc::clone(body.upload())),
    }
}

/// An answer to a request, unless it switches to what nobody asked for.
fn agreed(
    asked: &RequestHead,
    head: ResponseHead,
    stream: Option<Incoming>,
    lease: Lease,
) -> Result<Answer, Failed> {
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(websocket::goes_on(&asked.headers) && websocket::is_agreed(&head.headers)) {
        return Err(Failed { fault: Fault::Unasked, may_go_again: false });
    }
    Ok((Response { head, body: stream }, lease))
}

/// Whether the upstream has done nothing yet for the request, by what it says, or that does not matter.
fn is_safe(head: &RequestHead, fault: &Fault) -> bool {
    let Fault::Exchange(error) = fault else { return false };
    shared::is_unprocessed(error) || (!shared::is_reset(error) && head.method.is_idempotent())
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
