//! Probes of the instances (R81 to R83): what they say, what follows, and how they are made.
//!
//! ```text
//! prober ─► Report ─► watch: health ─► policy ─► shares, gone
//! ```
//! `prober`, `way` and the kinds of probes do I/O, on a thread of their own; all else is pure.

pub mod availability;
mod failure;
pub mod health;
pub mod history;
pub mod policy;
mod prober;
pub mod watch;
mod way;

mod exchange;
mod http;
mod http2;
mod tls;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

pub use self::{
    exchange::Asker,
    failure::{Failure, Presence},
    prober::{Prober, Targets},
    way::{Target, Way},
};
use crate::model::InstanceName;

/// A probe's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub instance: InstanceName,
    /// Where it was asked; of several places the first that failed.
    pub address: SocketAddr,
    /// Whether its answer was good, and why not.
    pub outcome: Result<(), Failure>,
    /// From the first packet to the last.
    pub took: Duration,
    /// When it was over.
    pub at: Instant,
    /// Every place where it was asked.
    pub asked: Vec<Asked>,
}

/// What came of asking an instance at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its own address, or a VIP.
    pub address: SocketAddr,
    /// Whether the answer was good, and why not.
    pub outcome: Result<(), Failure>,
    /// From the first packet to the last.
    pub took: Duration,
}
