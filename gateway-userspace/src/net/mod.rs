//! Netlink: links, addresses, neighbours.

pub mod loopback;
