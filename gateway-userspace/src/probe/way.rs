//! How a probe's connection is made.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::failure::Failure;

/// Whom to probe, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is asked.
    pub address: SocketAddr,
    /// How packets get there.
    pub way: Way,
}

/// How a probe's packets get to their instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To its own address.
    Direct {
        /// From this one of the balancer's: the kernel might choose a VIP, which instances have too. None: the instance is on
        /// this very host.
        source: Option<IpAddr>,
    },
}

impl Target {
    /// A connection that nothing was sent on yet. Nobody waits for it but the caller.
    pub(super) async fn connect(&self) -> Result<TcpStream, Failure> {
        let socket = self.socket().map_err(|error| Failure::Own(error.to_string()))?;
        socket.connect(self.address).await.map_err(|error| Failure::of_connecting(&error))
    }

    fn socket(&self) -> io::Result<TcpSocket> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Closed with a reset: hundreds of probes a second would leave as many sockets in TIME_WAIT, for a minute each.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        socket.set_nodelay(true)?;
        match self.way {
            Way::Direct { source: Some(source) } => socket.bind(SocketAddr::new(source, 0))?,
            Way::Direct { source: None } => {}
        }
        Ok(socket)
    }
}
