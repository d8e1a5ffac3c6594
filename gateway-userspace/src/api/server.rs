//! The thread that listens: a Unix socket for this host's operators, TCP for others. All that a stranger can send or
//! leave open is limited, and each of the two has places of its own.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net,
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Error,
    access::Origin,
    audit::Audit,
    call::Call,
    handlers::Context,
    page, routes,
    socket::{self, Socket, SocketFile},
};
use crate::model::Model;

/// Connections at once, of each kind.
const CONNECTIONS: usize = 64;
/// Of them from one address.
const OF_ONE: usize = 16;
/// For the head of a request, also of the next one on a connection.
const HEAD: Duration = Duration::from_secs(5);
/// The size of a head.
const HEAD_BYTES: usize = 16 * 1024;
/// A connection in all; the longest request takes two minutes.
const LIFE: Duration = Duration::from_secs(180);
/// For answers on their way when it stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// After an accept that failed, which descriptors that ran out may make it do again and again.
const PAUSE: Duration = Duration::from_millis(100);

/// What a file may change while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The file of tokens.
    pub tokens: Option<PathBuf>,
    /// Proxies of the service, whose word for who asks is taken.
    pub proxies: Vec<IpAddr>,
}

impl Settings {
    /// As a file says.
    pub fn of(model: &Model) -> Self {
        let mut proxies: Vec<IpAddr> = match model.serves_api() {
            true => model.instances.iter().flat_map(|instance| instance.dip.iter().copied()).collect(),
            false => Vec::new(),
        };
        if model.serves_api_on_loopback() {
            proxies.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]);
        }
        Self { tokens: model.balancer.tokens.clone(), proxies }
    }
}

/// The control interface at work. Dropping it ends it and takes its socket away.
#[derive(Debug)]
pub struct Server {
    settings: Arc<ArcSwap<Settings>>,
    audit: Audit,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _file: SocketFile,
}

impl Server {
    /// Listens, and passes calls on from now on. Nobody else of this service may do so in this network namespace.
    ///
    /// # Errors
    /// The address is taken, the socket cannot be made.
    pub fn start(
        socket: &std::path::Path,
        admin: SocketAddr,
        settings: Settings,
        calls: mpsc::Sender<Call>,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(admin).and_then(|tcp| tcp.set_nonblocking(true).map(|()| tcp));
        let listener = listener.map_err(|source| Error::Listen { address: admin, source })?;
        let Socket { listener: unix, file } = socket::bind(socket)?;
        unix.set_nonblocking(true).map_err(Error::Thread)?;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let audit = Audit::default();
        let context = Context {
            calls,
            settings: Arc::clone(&settings),
            guard: Arc::default(),
            audit: audit.clone(),
            page: Arc::default(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                let router = routes::router(&context);
                tokio::select! {
                    outcome = remote(listener, router.clone()) => report(outcome),
                    outcome = local(unix, router) => report(outcome),
                    () = page::sample(&context) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(FAREWELL);
        };
        let thread = thread::Builder::new().name("api".into()).spawn(serve).map_err(Error::Thread)?;
        Ok(Self { settings, audit, stop: Some(stop), thread: Some(thread), _file: file })
    }

    /// From the next request on.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Where changes are noted.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Where nobody hears it, the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the control interface ended by a panic");
        }
    }
}

/// Neither listener ends but by an error.
fn report(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::error!("the control interface has ended: {error}");
    }
}

async fn local(listener: std::os::unix::net::UnixListener, router: Router) -> io::Result<()> {
    let listener = net::UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let accepted = listener.accept().await.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream)));
        let Ok((peer, stream)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let origin = Origin::Local { uid: peer.uid(), pid: peer.pid() };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, origin, router).await;
            drop(place);
        });
    }
}

async fn remote(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let sources = Arc::new(Mutex::new(HashMap::new()));
    let here = listener.local_addr()?;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // Who takes too many is closed at once.
        let Some(source) = Source::enter(&sources, peer.ip()) else { continue };
        let origin = Origin::Remote { peer, listener: here };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, origin, router).await;
            drop((source, place));
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    origin: Origin,
    router: Router,
) {
    let service = TowerToHyperService::new(router);
    let with_origin = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(origin);
        hyper::service::Service::call(&service, request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), with_origin);
    match timeout(LIFE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("control connection from {origin}: {error}"),
        Err(_) => log::debug!("control connection from {origin}: closed, it was open too long"),
    }
}

/// A place among the connections of one address, given back when dropped.
struct Source {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Source {
    fn enter(counts: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr) -> Option<Self> {
        let mut open = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self { counts: Arc::clone(counts), address })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut open = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
