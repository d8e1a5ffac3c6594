//! Upstream services: connecting, keeping connections, and one exchange.

mod connect;
mod exchange;
mod heard;
mod pool;

pub use self::{
    connect::Connector,
    exchange::{Fault, exchange},
    pool::{Lease, Pool},
};
pub use crate::trust::{TrustError, client_config};
