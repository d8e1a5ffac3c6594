//! What the connections of one core share. Workers share nothing but the current [`State`].

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    counters::Counters, headers::Via, limits::Limits, observe::trace, overload::Overload, probe::Port,
    sources::Sources, state::State, unknown::UnknownLog, upstream::Pool,
};
use crate::dns;

/// The configuration that is served now.
pub type Current = Arc<ArcSwap<State>>;

/// One core's share of the proxy.
pub struct Worker {
    /// Swapped whole on a reload.
    pub(super) current: Current,
    pub(super) limits: Arc<Limits>,
    pub(super) via: Via,
    pub(super) pool: Pool,
    pub(super) sources: Arc<Sources>,
    /// Of all workers.
    pub(super) port: Arc<Port>,
    pub(super) counters: Counters,
    pub(super) unknown: UnknownLog,
    /// Of requests' identifiers.
    pub(super) ids: trace::Source,
    pub(super) overload: Overload,
    /// Answers questions of the DNS.
    pub(super) dns: Arc<dns::serve::Server>,
}

impl Worker {
    /// A worker without connections.
    pub fn new(
        current: Current,
        limits: Arc<Limits>,
        via: Via,
        port: Arc<Port>,
        dns: Arc<dns::serve::Server>,
    ) -> Self {
        Self {
            via,
            port,
            pool: Pool::new(Arc::clone(&current.load().known.upstreams)),
            sources: Arc::new(Sources::new(limits.connections, limits.connections_per_source)),
            counters: Counters::default(),
            unknown: UnknownLog::default(),
            ids: trace::Source::default(),
            overload: Overload::default(),
            dns,
            limits,
            current,
        }
    }

    /// How connections and requests ended so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections to upstreams, kept for the next request.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Clients' connections now.
    pub fn connections(&self) -> usize {
        self.sources.open()
    }
}
