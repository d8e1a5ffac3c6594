//! How a probe's connection is made.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use gateway_ebpf::layout;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::failure::Failure;
use crate::dataplane::{Connections, Port};

/// Ports that are tried until one is free: somebody else may have bound to it.
const TRIES: usize = 64;

/// Whom to probe, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is asked: the instance's own address, or a VIP.
    pub address: SocketAddr,
    /// How packets get there.
    pub way: Way,
}

/// How a probe's packets get to their instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// As the kernel sends them.
    Direct {
        /// From this one of the balancer's: the kernel might choose a VIP, which instances have too. None: the instance is on
        /// this very host.
        source: Option<IpAddr>,
    },
    /// With nat, to what a VIP's port is on the instance, where clients' packets go too.
    Translated {
        /// From this one of the balancer's.
        source: IpAddr,
        /// The instance's own address, and the port there.
        to: SocketAddr,
    },
    /// To a VIP, as clients' packets go ([`gateway_ebpf::probe`]).
    DataPath {
        /// From this one of the balancer's.
        source: IpAddr,
        /// The instance's own address, to which the socket is connected.
        dip: IpAddr,
        /// Its number in the running tables.
        instance: u16,
        /// The largest segment that gets there. None: its way is not known.
        mss: Option<u16>,
    },
}

impl Target {
    /// A connection that nothing was sent on yet, and the port that it has until it is closed, if that is one of the table's.
    /// Nobody waits for it but the caller.
    pub(crate) async fn connect(
        &self,
        connections: Option<&Connections>,
    ) -> Result<(TcpStream, Option<Port>), Failure> {
        let own = |error: io::Error| Failure::Own(error.to_string());
        let (socket, to, port) = match self.way {
            Way::Direct { source } => (socket(self.address, source).map_err(own)?, self.address, None),
            Way::Translated { source, to } => (socket(to, Some(source)).map_err(own)?, to, None),
            Way::DataPath { source, dip, instance, mss } => {
                let to = SocketAddr::new(dip, self.address.port());
                let (socket, mut port) = reserved(source, connections)?;
                if let Some(mss) = mss {
                    SockRef::from(&socket).set_tcp_mss(mss.into()).map_err(own)?;
                }
                port.enter(layout::Probe {
                    source: source.into(),
                    dip: dip.into(),
                    vip: self.address.ip().into(),
                    port: to.port(),
                    instance,
                    ..layout::Probe::default()
                })
                .map_err(|error| Failure::Own(format!("{error:#}")))?;
                (socket, to, Some(port))
            }
        };
        let stream = socket.connect(to).await.map_err(|error| Failure::of_connecting(&error))?;
        Ok((stream, port))
    }
}

/// A socket on a port of the table.
fn reserved(source: IpAddr, connections: Option<&Connections>) -> Result<(TcpSocket, Port), Failure> {
    let Some(connections) = connections else {
        return Err(Failure::Own("the programs of probes through the data path are not attached".to_owned()));
    };
    // Those that others have are kept until one is found, or they would be tried again.
    let mut others = Vec::new();
    while others.len() < TRIES {
        let Some(port) = connections.port() else { break };
        let from = SocketAddr::new(source, port.number());
        match bare(from).and_then(|socket| socket.bind(from).map(|()| socket)) {
            Ok(socket) => return Ok((socket, port)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => others.push(port),
            Err(error) => return Err(Failure::Own(format!("{source}: {error}"))),
        }
    }
    Err(Failure::Own(format!(
        "no port from {} on is free at {source}; see who has them (`ss -tan`)",
        layout::PROBE_PORT
    )))
}

fn socket(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = bare(to)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

/// Of the family of `like`.
fn bare(like: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if like.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Closed with a reset: hundreds of probes a second would leave as many sockets in TIME_WAIT, for a minute each.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
