//! `[proxy.limits]` as written.

use std::time::Duration;

use crate::config::read::{Key, Reader};

/// `[proxy.limits]`
#[derive(Debug)]
pub(in crate::config) struct ProxyLimits {
    pub(in crate::config) connections: Key<u32>,
    pub(in crate::config) connections_per_source: Key<u32>,
    pub(in crate::config) requests: Key<u32>,
    pub(in crate::config) queue_wait: Key<Duration>,
    pub(in crate::config) head_bytes: Key<u32>,
    pub(in crate::config) target_bytes: Key<u32>,
    pub(in crate::config) handshake: Key<Duration>,
    pub(in crate::config) first_byte: Key<Duration>,
    pub(in crate::config) head: Key<Duration>,
    pub(in crate::config) idle: Key<Duration>,
    pub(in crate::config) request_body: Key<Duration>,
    pub(in crate::config) response: Key<Duration>,
    pub(in crate::config) upstream_connect: Key<Duration>,
    pub(in crate::config) upstream_answer: Key<Duration>,
    pub(in crate::config) upstream_body: Key<Duration>,
    pub(in crate::config) upstream_idle: Key<Duration>,
}

impl ProxyLimits {
    pub(super) fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            connections: table.whole("connections"),
            connections_per_source: table.whole("connections_per_source"),
            requests: table.whole("requests"),
            queue_wait: table.duration("queue_wait"),
            head_bytes: table.whole("head_bytes"),
            target_bytes: table.whole("target_bytes"),
            handshake: table.duration("handshake"),
            first_byte: table.duration("first_byte"),
            head: table.duration("head"),
            idle: table.duration("idle"),
            request_body: table.duration("request_body"),
            response: table.duration("response"),
            upstream_connect: table.duration("upstream_connect"),
            upstream_answer: table.duration("upstream_answer"),
            upstream_body: table.duration("upstream_body"),
            upstream_idle: table.duration("upstream_idle"),
        }
    }
}
