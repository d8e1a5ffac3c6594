//! An upstream at one of its addresses.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::model::{Upstream, UpstreamAddress};

/// What connections are made to, and shared by: one address of an upstream, its name and its TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) upstream: Upstream,
    pub(super) address: SocketAddr,
}

impl Server {
    /// All of an upstream; `known` are the addresses of a name.
    pub(super) fn all(upstream: &Upstream, known: impl FnOnce(&str) -> Vec<IpAddr>) -> Vec<Self> {
        let at = |address| Self { upstream: upstream.clone(), address };
        match &upstream.address {
            UpstreamAddress::Ip(address) => vec![at(*address)],
            UpstreamAddress::Name { host, port } => {
                known(host).into_iter().map(|ip| at(SocketAddr::new(ip, *port))).collect()
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.upstream.address {
            UpstreamAddress::Ip(_) => write!(f, "{}", self.upstream),
            UpstreamAddress::Name { .. } => write!(f, "{} ({})", self.upstream, self.address.ip()),
        }
    }
}
