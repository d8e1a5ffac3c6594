//! Upstream services: which one gets a request, connecting, keeping connections, and one exchange.

mod budget;
mod choose;
mod cluster;
mod connect;
mod dial;
mod eject;
mod exchange;
mod health;
mod http1;
mod kept;
mod known;
mod limit;
mod members;
mod names;
mod peer;
mod resolver;
mod server;
mod shared;
mod stalling;
mod tls;

pub(in crate::proxy) use self::{choose::mixed, http1::Link};
pub use self::{
    cluster::Cluster,
    connect::Connector,
    dial::dial,
    exchange::{Answer, Fault, exchange},
    health::watch,
    http1::{Lost, Unlinked},
    kept::{InFlight, Lease, Pool},
    names::NameSeen,
    peer::{UpstreamSeen, Upstreams},
    tls::TlsConfigs,
};
pub use crate::trust::TrustError;
