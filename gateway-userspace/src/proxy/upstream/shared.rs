//! Connections to upstreams of HTTP/2: each is shared by many requests of its worker.

use std::{
    error::Error,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use h2::Reason;
use http::{
    Request, Uri, Version,
    header::{CONNECTION, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::{exchange::Fault, kept::Keep};
use crate::proxy::{body::RequestBody, message::RequestHead};

/// How many requests a connection has, and may have.
#[derive(Debug)]
pub(super) struct Streams {
    open: AtomicUsize,
    /// What the upstream allows, as far as is known.
    allowed: AtomicUsize,
}

/// A connection for many requests.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) streams: Arc<Streams>,
    /// Over TLS.
    pub(super) scheme: Scheme,
}

/// A request's place on a connection.
#[derive(Debug)]
pub(super) struct Place(pub(super) Shared);

/// Connections of a worker to an upstream.
#[derive(Debug)]
pub(super) struct Several {
    all: Mutex<Vec<Line>>,
    keep: Keep,
    /// One at a time is opened: who waits for it may use it.
    opening: tokio::sync::Mutex<()>,
    failed: AtomicUsize,
}

#[derive(Debug)]
struct Line {
    shared: Shared,
    used: Instant,
}

impl Streams {
    pub(super) fn new(allowed: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), allowed: AtomicUsize::new(allowed) })
    }

    pub(super) fn allow(&self, count: usize) {
        self.allowed.store(count, Ordering::Relaxed);
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Place {
    fn new(shared: Shared) -> Self {
        shared.streams.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Several {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            all: Mutex::default(),
            keep,
            opening: tokio::sync::Mutex::default(),
            failed: AtomicUsize::new(0),
        }
    }

    /// A place on a connection that has one, or else on a new one, which `open` makes.
    pub(super) async fn place(
        &self,
        open: impl Future<Output = Result<Shared, Fault>>,
    ) -> Result<Place, Fault> {
        if let Some(place) = self.free() {
            return Ok(place);
        }
        let before = self.failed.load(Ordering::Relaxed);
        let _turn = self.opening.lock().await;
        if let Some(place) = self.free() {
            return Ok(place);
        }
        if self.failed.load(Ordering::Relaxed) != before {
            // Who waited for an attempt that failed has waited long enough.
            return Err(Fault::Connect(io::Error::other("the connection that others opened failed")));
        }
        match open.await {
            Ok(shared) => {
                let place = Place::new(shared.clone());
                self.lock().push(Line { shared, used: Instant::now() });
                Ok(place)
            }
            Err(fault) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(fault)
            }
        }
    }

    /// On the connection that has the most requests and still room: the others may grow old and go. With as many connections as
    /// there may be, on the one that has the fewest.
    fn free(&self) -> Option<Place> {
        let mut all = self.lock();
        all.retain(|line| !line.shared.sender.is_closed());
        let room = |line: &&mut Line| {
            let allowed = line.shared.streams.allowed.load(Ordering::Relaxed).min(self.keep.streams);
            line.shared.streams.open() < allowed
        };
        let is_full = all.len() >= self.keep.lines;
        let line = match all.iter_mut().filter(room).max_by_key(|line| line.shared.streams.open()) {
            None if is_full => all.iter_mut().min_by_key(|line| line.shared.streams.open())?,
            line => line?,
        };
        line.used = Instant::now();
        Some(Place::new(line.shared.clone()))
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// Ends connections that were not used for too long.
    pub(super) fn sweep(&self) {
        self.lock().retain(|line| {
            let is_old = line.shared.streams.open() == 0 && line.used.elapsed() >= self.keep.age;
            !is_old && !line.shared.sender.is_closed()
        });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the upstream says that it has not looked at the request (RFC 9113, section 8.7).
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// Whether the upstream has answered by a reset.
pub(super) fn is_reset(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| error.is_remote() && error.is_reset())
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// A request as HTTP/2 has it: who is asked is in the target. None: Host is no authority.
pub(super) fn to_http2(head: &RequestHead, scheme: &Scheme) -> Option<Request<()>> {
    let mut target = head.uri.clone().into_parts();
    target.scheme = Some(scheme.clone());
    target.authority = Some(Authority::try_from(head.headers.get(HOST)?.as_bytes()).ok()?);
    target.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    *request.version_mut() = Version::HTTP_2;
    let fields = request.headers_mut();
    fields.reserve(head.headers.len());
    for (name, value) in head.headers.iter().filter(|(name, _)| **name != HOST && **name != CONNECTION) {
        fields.append(name, value.clone());
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, header::ACCEPT};

    use super::*;

    #[test]
    fn who_is_asked_moves_to_the_target() {
        for (uri, target) in
            [("/a?b", "https://api.contoso.com:8443/a?b"), ("*", "https://api.contoso.com:8443*")]
        {
            let mut head = RequestHead::new(Method::PUT, uri.parse().unwrap());
            assert!(to_http2(&head, &Scheme::HTTPS).is_none());
            for (name, value) in
                [(HOST, "api.contoso.com:8443"), (ACCEPT, "a"), (CONNECTION, "te"), (ACCEPT, "b")]
            {
                head.headers.append(name, HeaderValue::from_static(value));
            }
            let request = to_http2(&head, &Scheme::HTTPS).unwrap();
            assert_eq!((request.uri().to_string().as_str(), request.version()), (target, Version::HTTP_2));
            assert_eq!(request.method(), Method::PUT);
            let fields: Vec<_> =
                request.headers().iter().map(|(name, value)| (name, value.as_bytes())).collect();
            assert_eq!(fields, [(&ACCEPT, &b"a"[..]), (&ACCEPT, b"b")]);
        }
    }
}
