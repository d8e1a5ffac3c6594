//! `gateway proxy`: serves the endpoints by host name on one instance.
//!
//! `Config ─► Routes` ([`state`], immutable, swapped whole), and a connection's way: [`listen`] → [`tls`] → [`gate`] →
//! [`routes`] → [`upstream`]. One current-thread runtime a core, each with listeners and upstream connections of its own.

pub mod answers;
pub mod arrival;
pub mod bind;
pub mod body;
mod charset;
pub mod connection;
pub mod counters;
pub mod course;
pub mod decide;
mod files;
pub mod gate;
pub mod guard;
pub mod handover;
pub mod headers;
pub mod host;
pub mod http1;
pub mod http2;
mod inflow;
pub mod limits;
pub mod linger;
pub mod listen;
pub mod message;
mod metrics;
pub mod moved;
mod name;
pub mod names;
pub mod observe;
pub mod overload;
pub mod passthrough;
mod path;
pub mod probe;
pub mod proxy_protocol;
pub mod rate;
mod received;
mod request;
pub mod routes;
mod run;
mod serve;
mod signals;
pub mod sources;
pub mod state;
pub mod store;
pub mod tls;
pub mod tunnel;
pub mod unknown;
mod upgrade;
pub mod upstream;
mod value;
mod websocket;
pub mod worker;
mod workers;

use std::path::PathBuf;

use crate::snat::Desk;

#[cfg(test)]
pub(crate) mod testing {
    /// The text of all metrics.
    pub(crate) fn metrics() -> String {
        super::metrics::testing::full().text()
    }
}

const EXAMPLES: &str = "\
Examples:
  gateway proxy --config /etc/gateway/gateway.toml --instance gw-1
      claim the VIPs on this host's lo, serve the names until Ctrl-C
  gateway proxy --instance gw-1 --take-over
      follow the proxy that runs here, without losing a connection: a new version, for example
  kill -HUP PID
      take up the changed file
  kill -USR2 PID
      start the program anew as it is on disk now, and have it take over";

/// What `gateway proxy` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(long, default_value = "gateway.toml")]
    pub config: PathBuf,
    /// Which `[[instance]]` of the file this host is
    #[arg(long)]
    pub instance: String,
    /// The balancer runs on this very host and hands packets over as they are: with `ipip` and `gue`, no program takes them
    /// out of tunnels
    #[arg(long)]
    pub beside_balancer: bool,
    /// If a proxy of this instance runs here, follow it: its sockets, queues and sessions are handed over, and it ends once its
    /// requests have. Without one it is an ordinary start
    #[arg(long)]
    pub take_over: bool,
}

/// Runs until SIGINT or SIGTERM; SIGHUP takes up names, routes and certificates of a changed file. `serving` is called once clients
/// are served here, and by no predecessor any more; `desk` takes what balancers say of SNAT ports.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(args: &Args, desk: Option<Desk>, serving: impl FnOnce()) -> anyhow::Result<()> {
    run::run(args, desk, serving)
}
