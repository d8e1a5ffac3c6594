//! `[[endpoint]]` with `mode = "passthrough"`

use super::{HealthCheck, HostPattern, Role, Upstream};

/// Names whose TLS ends at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// Decides on which ports it is served.
    pub role: Role,
    /// The names asked for in TLS, at least one.
    pub hosts: Vec<HostPattern>,
    /// At least one, each of [`UpstreamScheme::Tcp`](super::UpstreamScheme::Tcp).
    pub upstream: Vec<Upstream>,
    /// Likewise, for while none of those is in service (R72).
    pub backup: Vec<Upstream>,
    /// How all of them are probed, if they are: by a connection each.
    pub health: Option<HealthCheck>,
    /// What upstreams are told of the client.
    pub proxy_protocol: ProxyProtocol,
}

/// What is said in front of everything else on a connection to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Nothing.
    None,
    /// A header of version 2.
    V2,
}
