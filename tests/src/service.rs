//! The upstream services: small real HTTP/1.1 servers that say who they are and whom they saw.
//!
//! | request | answer |
//! |---|---|
//! | `GET /bytes/N` | N bytes of [`pattern`]; `?pause=MS` waits that long between chunks of 64 KiB, `?hold` before the last one, `?hold=first` behind the first one, until [`Services::release`] |
//! | `POST /sink` | reads the body; [`Sunk`] as JSON |
//! | `GET /slow?ms=MS` | [`Seen`] as JSON, that much later |
//! | anything else | [`Seen`] as JSON |

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::CONTENT_LENGTH,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::LocalSet,
};

use crate::{
    address::{Net, Station},
    host::Host,
};

/// Every service listens there.
pub const PORT: u16 = 8080;

/// The services, one for each role and one more for a route of its own.
pub const NAMES: [&str; 6] = ["gateway", "portal", "developer", "management", "scm", "orders"];

const CHUNK: u64 = 64 * 1024;

/// What a service saw of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The service's own name.
    pub service: String,
    /// Whose connection it came on: the instance's DIP.
    pub peer: IpAddr,
    /// GET and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// All values of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What `POST /sink` got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sunk {
    /// How much.
    pub bytes: u64,
    /// See [`fingerprint`].
    pub fingerprint: u64,
}

/// The services of a lab; Drop ends them.
#[derive(Debug)]
pub struct Services {
    requests: Requests,
    released: watch::Sender<bool>,
    _stop: oneshot::Sender<()>,
}

/// What the services' threads have of [`Services`].
#[derive(Debug, Clone)]
struct Shared {
    log: Requests,
    released: watch::Receiver<bool>,
}

/// Every request that any service saw, in order.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<Mutex<Vec<Seen>>>);

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the n-th of [`NAMES`] stands.
fn station(index: usize) -> Station {
    Station::new(Net::Services, 20 + u8::try_from(index).unwrap_or(u8::MAX - 20))
}

/// Where a service of [`NAMES`] listens, IPv4 first.
pub fn addresses(name: &str) -> Option<[SocketAddr; 2]> {
    let index = NAMES.iter().position(|known| *known == name)?;
    Some(station(index).addresses().map(|address| SocketAddr::new(address, PORT)))
}

impl Services {
    /// Gives `host` the services' addresses and starts one server on each.
    ///
    /// # Errors
    /// An address cannot be added or listened on.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let stations = (0..NAMES.len()).map(station);
        host.ip(stations.flat_map(|at| {
            [
                format!("address add {}/24 dev eth0", at.v4()),
                format!("address add {}/64 dev eth0 nodad", at.v6()),
            ]
        }))?;
        let listeners = host.enter(|| {
            let all = NAMES
                .iter()
                .flat_map(|name| addresses(name).into_iter().flatten().map(move |at| (*name, at)));
            all.map(|(name, at)| listen(at).map(|listener| (name, listener)))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let requests = Requests::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (released, hold) = watch::channel(false);
        let shared = Shared { log: requests.clone(), released: hold };
        thread::Builder::new()
            .name("lab upstreams".to_owned())
            .spawn(move || serve(listeners, &shared, stopped))?;
        Ok(Self { requests, released, _stop: stop })
    }

    /// Lets go of all bodies that are held, and of those to come.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Every request that any service saw, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.requests.lock().clone()
    }
}

fn listen(at: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(
    listeners: Vec<(&'static str, std::net::TcpListener)>,
    shared: &Shared,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime.inspect_err(|error| log::error!("no runtime for the lab's services: {error}"))
    else {
        return;
    };
    let local = LocalSet::new();
    for (name, listener) in listeners {
        local.spawn_local(accept(name, listener, shared.clone()));
    }
    // Either way it is over: a message is never sent, the sender is dropped.
    let _ = local.block_on(&runtime, stopped);
}

async fn accept(name: &'static str, listener: std::net::TcpListener, shared: Shared) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, peer)) = listener.accept().await {
        let shared = shared.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(name, peer.ip(), request, shared.clone()));
            // A client that goes away in the middle is a test's business, not ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = Either<Full<Bytes>, http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(
    name: &str,
    peer: IpAddr,
    request: Request<Incoming>,
    shared: Shared,
) -> Result<Response<Body>, hyper::Error> {
    let seen = Seen {
        service: name.to_owned(),
        peer,
        method: request.method().to_string(),
        path: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(key, value)| (key.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
    };
    shared.log.lock().push(seen.clone());
    let path = request.uri().path().to_owned();
    if let Some(count) = path.strip_prefix("/bytes/").and_then(|count| count.parse::<u64>().ok()) {
        let query = request.uri().query().unwrap_or_default();
        let held_at = query.split('&').find_map(|word| match word {
            "hold" => Some(count.saturating_sub(CHUNK)),
            "hold=first" => Some(CHUNK),
            _ => None,
        });
        let hold = held_at.map(|at| (at, shared.released));
        return Ok(bytes(count, milliseconds(&request, "pause"), hold));
    }
    match path.as_str() {
        "/sink" => Ok(json(&sink(request.into_body()).await?)),
        "/slow" => {
            tokio::time::sleep(milliseconds(&request, "ms")).await;
            Ok(json(&seen))
        }
        _ => Ok(json(&seen)),
    }
}

fn milliseconds<B>(request: &Request<B>, key: &str) -> Duration {
    let query = request.uri().query().unwrap_or_default();
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
    Duration::from_millis(value.and_then(|(_, number)| number.parse().ok()).unwrap_or(0))
}

fn json<T: Serialize>(value: &T) -> Response<Body> {
    // One object a line, so that the answers of many requests can be read from one stream.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

async fn sink(mut body: Incoming) -> Result<Sunk, hyper::Error> {
    let (mut bytes, mut hash) = (0, Fingerprint::default());
    while let Some(frame) = body.frame().await.transpose()? {
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            hash.update(&data);
        }
    }
    Ok(Sunk { bytes, fingerprint: hash.0 })
}

/// Before which byte an answer waits, and for what.
type Hold = (u64, watch::Receiver<bool>);

fn bytes(count: u64, pause: Duration, hold: Option<Hold>) -> Response<Body> {
    let chunks = chunks(count, pause, hold);
    let mut response = Response::new(Either::Right(StreamBody::new(chunks).boxed_unsync()));
    response.headers_mut().insert(CONTENT_LENGTH, count.into());
    response
}

fn chunks(
    count: u64,
    pause: Duration,
    hold: Option<Hold>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    futures_util::stream::unfold((0, hold), move |(sent, mut hold)| async move {
        if sent >= count {
            return None;
        }
        if let Some((_, released)) = hold.as_mut().filter(|(at, _)| sent >= *at) {
            // It fails only where the lab is gone.
            let _ = released.wait_for(|released| *released).await;
        }
        if sent > 0 && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let next = count.min(sent + CHUNK);
        let chunk = (sent..next).map(pattern).collect::<Vec<_>>();
        Some((Ok(Frame::data(Bytes::from(chunk))), (next, hold)))
    })
}

/// The byte of `/bytes/N` at `offset`: no two places within 16 MiB that a shift could confuse look alike.
pub fn pattern(offset: u64) -> u8 {
    let [a, b, c, ..] = offset.to_le_bytes();
    a ^ b.wrapping_mul(31) ^ c.wrapping_mul(101)
}

/// FNV-1a, 64 bits: enough to tell a body from one that lost or gained a byte.
#[derive(Debug, Clone, Copy)]
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// What [`Sunk::fingerprint`] is for a whole body.
pub fn fingerprint(body: &[u8]) -> u64 {
    let mut hash = Fingerprint::default();
    hash.update(body);
    hash.0
}
