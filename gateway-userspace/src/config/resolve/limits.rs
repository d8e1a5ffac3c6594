//! `[proxy.limits]`

use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file,
    },
    model::ProxyLimits,
};

/// Defaults, and what fits into what.
pub(super) fn resolve(written: &file::ProxyLimits, faults: &mut Vec<Fault>) -> ProxyLimits {
    let default = ProxyLimits::default();
    let limits = ProxyLimits {
        connections: written.connections.value().copied(),
        connections_per_source: written.connections_per_source.value().copied(),
        requests: written.requests.value().copied(),
        queue_wait: written.queue_wait.value_or(default.queue_wait),
        head_bytes: written.head_bytes.value_or(default.head_bytes),
        target_bytes: written.target_bytes.value_or(default.target_bytes),
        handshake: written.handshake.value_or(default.handshake),
        first_byte: written.first_byte.value_or(default.first_byte),
        head: written.head.value_or(default.head),
        idle: written.idle.value_or(default.idle),
        request_body: written.request_body.value_or(default.request_body),
        response: written.response.value_or(default.response),
        upstream_connect: written.upstream_connect.value_or(default.upstream_connect),
        upstream_answer: written.upstream_answer.value_or(default.upstream_answer),
        upstream_body: written.upstream_body.value_or(default.upstream_body),
        upstream_idle: written.upstream_idle.value_or(default.upstream_idle),
    };
    let at = written.target_bytes.span().or_else(|| written.head_bytes.span());
    if let (true, Some(at)) = (limits.target_bytes > limits.head_bytes, at) {
        let message = format!(
            "a target of {} bytes does not fit into a head of {} bytes",
            limits.target_bytes, limits.head_bytes
        );
        let label = format!("expected `target_bytes` of at most {}", limits.head_bytes);
        faults.push(Problem::new(Code::OutOfRange, message).label(label).at(at));
    }
    limits
}
