//! The lab: the hosts of a real installation in network namespaces, real services and clients, and the program under test.
//!
//! ```text
//!   client                     balancer                gw-1, gw-2, …               (all on one link: the switch)
//!   10.0.0.99                  10.0.0.2                10.0.0.11, 10.0.0.12, …     10.0.0.0/24
//!   fd00:0:0:1::99             fd00:0:0:1::2           fd00:0:0:1::11, ::12, …     fd00:0:0:1::/64
//!      │                          │                       │
//!   ═══╪══════════════════════════╪═══════════════════════╪═══════╪══ switch ══
//!      │                          │                       │       │
//!      VIPs, held by the balancer on the link:                    │ lan   10.0.0.1, fd00:0:0:1::1
//!      private 10.0.0.5, fd00:0:0:1::5                        ┌───┴────┐
//!      public  203.0.113.5, 2001:db8::5                       │ router │  routes the public VIPs onto the LAN
//!                                                             └┬──┬───┬┘
//!               services ──────────────────────────────────────┘  │   └─────────────────────── outside
//!               10.0.1.20 …, fd00:0:0:2::20 …, port 8080          │                            198.51.100.7
//!               gateway, portal, developer, management,         routed, in a peered network    2001:db8:100::7
//!               scm, orders: HTTP/1.1 servers that              10.8.0.20
//!               say whom they saw                               fd00:0:8:1::20
//! ```
//!
//! A lab that asks for it has one client more, `branch`, 10.8.1.20 and fd00:0:8:2::20, behind a tunnel from the router.
//!
//! Each host is a namespace of its own ([`host::Host`]); the router has the number 1 in every network. All of it is gone
//! when the [`lab::Lab`] is dropped, or when the process ends in whatever way, and any number of labs stand side by side.

pub mod address;
pub mod bench;
pub mod browser;
pub mod ca;
pub mod config;
pub mod control;
pub mod counters;
pub mod curl;
pub mod damage;
pub mod dig;
pub mod flows;
pub mod frame;
pub mod gateway;
pub mod guest;
pub mod host;
pub mod inject;
pub mod knock;
pub mod lab;
pub mod mirror;
pub mod mode;
pub mod name_server;
pub mod notify;
pub mod pass;
pub mod peer;
pub mod probe_load;
pub mod probed;
pub mod process;
pub mod scan;
pub mod segments;
pub mod service;
pub mod snapshot;
pub mod strace;
pub mod terminal;
pub mod tls;
pub mod topology;
pub mod transfer;
pub mod unit;
pub mod wait;
pub mod wire;
