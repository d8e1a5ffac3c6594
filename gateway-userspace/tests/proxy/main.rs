//! The proxy over loopback: real sockets and upstreams, ephemeral ports, no privileges.

mod forwarding;
mod gate;
mod names;
mod support;
mod timers;
