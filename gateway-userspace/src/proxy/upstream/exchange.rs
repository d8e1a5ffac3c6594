//! One request to one of a route's upstreams, and the head of its answer.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
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

/// What a request without a body is made from again.
struct Again {
    version: Version,
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
) -> Result<Answer, Fault> {
    let cluster = &cluster.now().await;
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
                lease.flight.part().count_answer(response.status());
                match response.status().is_server_error() {
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
                match failed.again {
                    Some(again) => request = *again,
                    None => return Err(failed.fault),
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
    /// The request, if it may be sent again.
    again: Option<Box<Request<RequestBody>>>,
}

/// One upstream's turn: on a kept connection, and if that fails unheard, on a new one.
async fn attempt(
    cluster: &View<'_>,
    choice: Choice,
    mut request: Request<RequestBody>,
    pool: &Pool,
    connector: &Connector,
    patience: Duration,
) -> Result<Answer, Failed> {
    // Connecting counts as in flight: an upstream that is slow to accept is loaded.
    let enter = || async {
        cluster.enter(choice, pool).await.map_err(|Busy| Failed { fault: Fault::Busy, again: None })
    };
    let server = &cluster.peer(choice).server;
    let mut flight = enter().await?;
    if server.upstream.scheme.is_http2() {
        return Box::pin(share(server, request, flight, connector, patience)).await;
    }
    if let Some(link) = flight.part().kept.take() {
        match send(link, request, flight, patience).await {
            Err(Failed { again: Some(again), .. }) => request = *again,
            done => return done,
        }
        flight = enter().await?;
    }
    let line = match cluster.line(choice) {
        Ok(line) => line,
        // There are as many requests as connections at most, so one of them waits at another worker.
        Err(Busy) => match cluster.peer(choice).spare() {
            Some(link) => return send(link, request, flight, patience).await,
            None => return Err(Failed { fault: Fault::Busy, again: None }),
        },
    };
    // Seldom, and large: a request's future is moved, and none of this is to be moved with it.
    match Box::pin(connector.connect(server)).await {
        Ok(link) => send(Box::new(link.with(line)), request, flight, patience).await,
        Err(fault) => Err(Failed { fault, again: Some(Box::new(request)) }),
    }
}

/// An upstream's turn over HTTP/2.
async fn share(
    server: &Server,
    request: Request<RequestBody>,
    flight: Flight,
    connector: &Connector,
    patience: Duration,
) -> Result<Answer, Failed> {
    match flight.part().shared.place(connector.connect_http2(server)).await {
        Ok(place) => send_shared(place, request, flight, patience).await,
        Err(fault) => Err(Failed { fault, again: Some(Box::new(request)) }),
    }
}

/// On a connection of its own.
async fn send(
    mut link: Box<Link>,
    mut request: Request<RequestBody>,
    flight: Flight,
    patience: Duration,
) -> Result<Answer, Failed> {
    // It may have been tried elsewhere.
    if request.version() == Version::HTTP_2 {
        shared::from_http2(&mut request);
    }
    let upload = upload_of(&request);
    let asks = websocket::goes_on(request.headers());
    let (head, body) = request.into_parts();
    match link.exchange(head, body, upload.as_deref(), patience).await {
        Ok((head, sending)) => {
            let lease = Lease { way: Way::Own(link), flight, upload, sending, admitted: None };
            agreed(Response::from_parts(head, None), asks, lease)
        }
        Err(http1::Failed { lost, head, was_heard }) => {
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::lost(lost),
            };
            let is_broken = matches!(fault, Fault::Lost(Lost::Io(_) | Lost::Ended));
            let again = head.filter(|head| is_broken && !was_heard && head.method.is_idempotent());
            let again = again.map(|head| Box::new(Request::from_parts(head, RequestBody::Empty)));
            Err(Failed { fault, again })
        }
    }
}

/// On a connection that others use as well.
async fn send_shared(
    mut place: Place,
    mut request: Request<RequestBody>,
    flight: Flight,
    patience: Duration,
) -> Result<Answer, Failed> {
    if request.version() != Version::HTTP_2 {
        let converted = shared::to_http2(&mut request, &place.0.scheme);
        converted.ok_or_else(|| Failed { fault: Fault::Host, again: None })?;
    }
    let upload = upload_of(&request);
    let asks = websocket::goes_on(request.headers());
    let replay = Again::of(&request);
    match within(patience, upload.as_deref(), place.0.sender.try_send_request(request)).await {
        Some(Ok(response)) => {
            let way = Way::Shared { _place: place };
            let lease = Lease { way, flight, upload, sending: None, admitted: None };
            agreed(response.map(Some), asks, lease)
        }
        Some(Err(mut error)) => {
            let unsent = error.take_message();
            let fault = match upload.and_then(|upload| upload.fault()) {
                Some(fault) => Fault::Body(fault),
                None => Fault::of(error.into_error()),
            };
            let again = unsent.or_else(|| replay.filter(|replay| replay.is_safe(&fault)).map(Again::request));
            Err(Failed { fault, again: again.map(Box::new) })
        }
        None => Err(Failed { fault: Fault::AnswerTimeout, again: None }),
    }
}

fn upload_of(request: &Request<RequestBody>) -> Option<Arc<Upload>> {
    match request.body() {
        RequestBody::Empty => None,
        RequestBody::Client(body) => Some(Arc::clone(body.upload())),
    }
}

/// An answer, unless it switches to what nobody asked for.
fn agreed(response: Response<Option<Incoming>>, asks: bool, lease: Lease) -> Result<Answer, Failed> {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(asks && websocket::is_agreed(response.headers())) {
        return Err(Failed { fault: Fault::Unasked, again: None });
    }
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
        matches!(request.body(), RequestBody::Empty).then(|| Self {
            version: request.version(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    /// Whether the upstream has done nothing yet for the request, by what it says, or that does not matter.
    fn is_safe(&self, fault: &Fault) -> bool {
        let Fault::Exchange(error) = fault else { return false };
        shared::is_unprocessed(error) || (!shared::is_reset(error) && self.method.is_idempotent())
    }

    fn request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.version_mut() = self.version;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}
