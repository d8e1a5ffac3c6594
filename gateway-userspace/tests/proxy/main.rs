//! The proxy over loopback: real sockets and upstreams, ephemeral ports, no privileges.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod api;
mod client;
mod clients;
mod dns;
mod drain;
mod expect;
mod forwarding;
mod frames;
mod gate;
mod http2;
mod multiplexed;
mod names;
mod observe;
mod overload;
mod passthrough;
mod pools;
mod proxy_protocol;
mod routes;
mod sessions;
mod support;
mod timers;
mod upgrades;
mod upstream_tls;
mod websockets;
