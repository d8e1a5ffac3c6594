//! Upstream services: which one gets a request, connecting, keeping connections, and one exchange.

mod budget;
mod choose;
mod cluster;
mod connect;
mod dial;
mod eject;
mod exchange;
mod health;
mod heard;
mod kept;
mod known;
mod limit;
mod members;
mod names;
mod peer;
mod resolver;
mod server;
mod shared;
mod tls;

pub use self::{
    cluster::Cluster,
    connect::Connector,
    dial::dial,
    exchange::{Fault, exchange},
    health::watch,
    kept::{Lease, Pool},
    names::NameSeen,
    peer::{UpstreamSeen, Upstreams},
    tls::TlsConfigs,
};
pub use crate::trust::TrustError;
