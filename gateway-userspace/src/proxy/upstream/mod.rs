//! Upstream services: connecting, keeping connections, and one exchange.

mod connect;
mod exchange;
mod heard;
mod pool;
mod trust;

pub use self::{
    connect::Connector,
    exchange::{Fault, exchange},
    pool::{Lease, Pool},
    trust::{TrustError, client_config},
};
