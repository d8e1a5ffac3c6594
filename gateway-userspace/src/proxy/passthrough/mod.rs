//! TLS that does not end here: a connection whose ClientHello asks for a passthrough endpoint's name goes to one of its upstreams as
//! it is.
//!
//! ```text
//! ClientHello ─► upstream (least loaded of two, the next one if it takes no connection) ─► bytes both ways ([`relay`])
//! ```

mod pipe;
mod relay;
mod way;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use self::relay::relay;
use super::{
    counters::Outcome,
    observe::{self, HostTraffic},
    proxy_protocol::{Ends, v2},
    state::State,
    upstream::{Cluster, Fault, Upstreams, dial},
    worker::Worker,
};
use crate::model::{Backend, Location, Passthrough, ProxyProtocol, Upstream};

/// A passthrough endpoint.
#[derive(Debug)]
pub struct Through {
    cluster: Cluster,
    tells: ProxyProtocol,
}

/// Where a connection goes, and whose name it asked for.
#[derive(Debug, Clone)]
pub struct To {
    /// The endpoint.
    pub through: Arc<Through>,
    /// As the client wrote it, but in lower case.
    pub name: String,
    /// Where it is counted.
    pub host: Arc<HostTraffic>,
}

/// A client that is passed through.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// What it has sent so far: the ClientHello, and what came with it.
    pub(super) hello: Vec<u8>,
    pub(super) peer: SocketAddr,
    /// Where it connected to, if a proxy before us has told.
    pub(super) destination: Option<SocketAddr>,
}

impl Through {
    pub(super) fn new(endpoint: &Passthrough, upstreams: &Upstreams) -> Self {
        let location = |priority, upstream: &[Upstream]| Location {
            priority,
            name: None,
            upstream: upstream.to_vec(),
            health: endpoint.health.clone(),
            limits: None,
        };
        let lists = [(1, &endpoint.upstream), (2, &endpoint.backup)].into_iter();
        let locations = lists.filter(|(_, list)| !list.is_empty());
        let locations = locations.map(|(priority, list)| location(priority, list)).collect();
        let cluster = Cluster::new(&Backend { locations, ..Backend::default() }, upstreams);
        Self { cluster, tells: endpoint.proxy_protocol }
    }
}

/// Serves until both sides have ended, one fails, or nothing comes for too long. A drain cannot be told within TLS, so it is only cut.
pub(super) async fn serve(worker: &Arc<Worker>, state: Arc<State>, to: To, mut client: Client) {
    let To { through, name, host } = to;
    let log = state.access_log.as_ref();
    let mut seen = observe::Through::begin(worker, log, client.peer.ip().to_canonical(), name, host);
    let dialled = dial(&through.cluster, &worker.pool, &state.connector).await;
    let ends = through.tells_of(&client, &state);
    drop(state);
    let mut dialled = match dialled {
        Ok(dialled) => dialled,
        Err(Fault::ConnectTimeout) => return seen.found(Outcome::UpstreamTimeout, None),
        Err(_) => return seen.found(Outcome::UpstreamFailed, None),
    };
    seen.found(Outcome::PassedThrough, Some(dialled.upstream()));
    let mut first = std::mem::take(&mut client.hello);
    let hello = first.len();
    if let Some(ends) = ends {
        first.splice(..0, v2::header(ends));
    }
    let limits = &worker.limits;
    if let Err(error) = sent(&mut dialled.stream, &first, limits.upstream_stall).await {
        dialled.failed(&worker.pool);
        log::debug!("passed through: the upstream takes nothing: {error}");
        return;
    }
    drop(first);
    seen.passed.add_up(hello);
    let end = relay(&mut client.stream, &mut dialled.stream, &seen.passed, limits).await;
    // An upstream that ends before it has said a word is no better than one that is not there.
    match end.upstream_was_silent {
        true => dialled.failed(&worker.pool),
        false => dialled.answered(&worker.pool),
    }
    match end.error {
        Some(error) => log::debug!("passed through: {error}"),
        None => seen.ended(),
    }
}

async fn sent(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> io::Result<()> {
    timeout(patience, stream.write_all(bytes)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

impl Through {
    /// What the upstream is told of the client, if anything.
    fn tells_of(&self, client: &Client, state: &State) -> Option<Ends> {
        match self.tells {
            ProxyProtocol::None => None,
            ProxyProtocol::V2 => {
                let local = || client.stream.local_addr().ok().map(|local| state.arrivals.vip_of(local));
                Some(Ends { source: client.peer, destination: client.destination.or_else(local)? })
            }
        }
    }
}
