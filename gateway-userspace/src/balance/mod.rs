//! `gateway balance`: the control plane of the balancer.
//!
//! `daemon` is the owner task. What it knows is `state`, what it checks first is `preflight`, what a changed
//! file may change is `reload`.

mod daemon;
mod evidence;
mod leases;
mod neighbours;
mod paths;
pub(crate) mod preflight;
mod reload;
mod report;
mod saved;
mod signals;
mod state;
mod status;
mod trial;
mod vips;
mod ways;

use std::path::PathBuf;

use anyhow::Context;

const EXAMPLES: &str = "\
Examples:
  gateway balance --config /etc/gateway/gateway.toml
      attach to the balancer's interface (or two), claim the VIPs, run until Ctrl-C
  gateway apply
      take up the changed file without losing a flow; a file with faults changes nothing. SIGHUP does the same, and so does
      each change of the file with --watch; all three go back by themselves if no instance is healthy then
  kill -USR1 PID
      log the counters now, and write them to the file of --counters

  kill -TERM PID
      end, while the kernel goes on forwarding: the next start goes on from there, of a newer version too
  kill -INT PID, or Ctrl-C
      end, and leave the host as it was found; `gateway detach` does so afterwards

It needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON, or root. An error at the first start leaves the interface \
as it was found.";

/// What `gateway balance` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The instance that runs on this very host, if one does: its packets go up this host's own stack
    #[arg(long, value_name = "NAME")]
    local: Option<String>,
    /// Take up the file whenever it changes, as `gateway apply` does
    #[arg(long)]
    watch: bool,
    /// Write the counters to FILE, as JSON, at the end and whenever SIGUSR1 comes
    #[arg(long, value_name = "FILE")]
    counters: Option<PathBuf>,
    /// Load this kernel object in place of the built-in one
    #[arg(long, value_name = "FILE", hide = true)]
    object: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    // One thread: the packets are the kernel's work, and what is left here is rare and small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(daemon::run(args))
}
