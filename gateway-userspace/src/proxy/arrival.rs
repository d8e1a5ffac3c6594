//! Who a connection is from: its peer, or whom a proxy before us names. Then whether there is a place for it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use tokio::{net::TcpStream, time::timeout};

use super::{
    counters::Outcome,
    proxy_protocol::{self, Ends, Header},
    rate::Rate,
    routes::Door,
    sources::Place,
    worker::Worker,
};
use crate::model::{Forwarding, HTTP_PORT, HTTPS_PORT, MANAGEMENT_PORT, Model};

/// What is configured of it.
#[derive(Debug)]
pub struct Arrivals {
    /// Whose connections begin with the PROXY protocol. Nobody else is asked: a client could name whomever it likes.
    proxies: Vec<IpNet>,
    refused: Rate,
    /// With `nat` the VIP's port for which one of the instance's own stands, by family and port.
    stand_ins: HashMap<(bool, u16), SocketAddr>,
}

/// A connection that is let in.
pub(super) struct Arrival {
    /// Whose it is.
    pub(super) peer: SocketAddr,
    /// Where to, if a proxy before us has told.
    pub(super) destination: Option<SocketAddr>,
    pub(super) _place: Place,
}

impl Arrivals {
    pub(super) fn new(model: &Model) -> Self {
        let mut stand_ins = HashMap::new();
        if model.balancer.forwarding == Forwarding::Nat {
            for vip in model.vip.all() {
                for port in [HTTPS_PORT, HTTP_PORT, MANAGEMENT_PORT] {
                    if let Some(own) = model.vip.backend_port(vip, port) {
                        stand_ins.insert((vip.is_ipv4(), own), SocketAddr::new(vip, port));
                    }
                }
            }
        }
        Self { proxies: model.proxy.proxy_protocol_from.clone(), refused: Rate::default(), stand_ins }
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|prefix| prefix.contains(&peer))
    }

    /// Where a client connected to that came in at `local`.
    pub(super) fn vip_of(&self, local: SocketAddr) -> SocketAddr {
        self.stand_ins.get(&(local.is_ipv4(), local.port())).copied().unwrap_or(local)
    }
}

/// Lets a connection in, if its header is right and there is a place for it.
pub(super) async fn arrive(
    worker: &Worker,
    door: Door,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Option<Arrival> {
    worker.counters.count(Outcome::Connection);
    let crowded = || worker.counters.count(Outcome::TooManyConnections);
    // A balancer's probes come from itself.
    if matches!(door, Door::Probe | Door::Dns) || !worker.current.load().arrivals.is_proxy(peer.ip()) {
        let place = worker.sources.enter(peer.ip());
        return place
            .or_else(|| {
                crowded();
                None
            })
            .map(|place| Arrival { peer, destination: None, _place: place });
    }
    let Some(place) = worker.sources.enter_unnamed() else {
        crowded();
        return None;
    };
    let header = timeout(worker.limits.proxy_header, proxy_protocol::read(stream)).await;
    let (peer, destination) = match header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Header::Of(Ends { source, destination })) => (source, Some(destination)),
        Ok(Header::Own) => (peer, None),
        Err(error) => {
            worker.counters.count(Outcome::ProxyHeaderRefused);
            if let Some(suppressed) = worker.current.load().arrivals.refused.take() {
                log::warn!(
                    "{peer} is in proxy.proxy_protocol_from, but its connection does not begin with the PROXY protocol: \
                     {error}{suppressed}"
                );
            }
            return None;
        }
    };
    let place = place.name(peer.ip());
    place
        .or_else(|| {
            crowded();
            None
        })
        .map(|place| Arrival { peer, destination, _place: place })
}
