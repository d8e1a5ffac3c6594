//! `[proxy.limits]`

use std::time::Duration;

/// How much clients may have and send, and how long each phase may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Clients' connections; None: what descriptors allow.
    pub connections: Option<u32>,
    /// Of one IPv4 address or IPv6 /64; None: 4,096 for each core.
    pub connections_per_source: Option<u32>,
    /// Requests in flight; None: as many as come.
    pub requests: Option<u32>,
    /// How long what a core has to do may wait for it before requests are turned away.
    pub queue_wait: Duration,
    /// Of a request's head.
    pub head_bytes: u32,
    /// Of its target.
    pub target_bytes: u32,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the first byte of the first request.
    pub first_byte: Duration,
    /// For a request's head, from its first byte.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Without a byte of a request's body.
    pub request_body: Duration,
    /// Without the client taking a byte of an answer.
    pub response: Duration,
    /// For a connection to an upstream.
    pub upstream_connect: Duration,
    /// For an upstream's answer.
    pub upstream_answer: Duration,
    /// Without a byte of an answer's body, or the upstream taking one of a request.
    pub upstream_body: Duration,
    /// How long an unused connection to an upstream is kept.
    pub upstream_idle: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: None,
            connections_per_source: None,
            requests: None,
            queue_wait: Duration::from_millis(100),
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            handshake: seconds(10),
            first_byte: seconds(20),
            head: seconds(10),
            idle: seconds(75),
            request_body: seconds(30),
            response: seconds(30),
            upstream_connect: seconds(5),
            upstream_answer: seconds(60),
            upstream_body: seconds(60),
            upstream_idle: seconds(30),
        }
    }
}
