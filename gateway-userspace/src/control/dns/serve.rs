//! `gateway dns serve`

use std::net::SocketAddr;

use super::File;
use crate::dns::serve::alone;

const EXAMPLES: &str = "\
Examples:
  gateway dns serve --listen 10.0.0.53:53
      answers for the names on a host of the network that is no instance; other servers may ask it for them
  gateway dns serve --listen 127.0.0.1:5353
      to try it out: dig @127.0.0.1 -p 5353 contoso.azure-api.net
With `dns.serve = true` the instances answer on port 53 of the private VIPs, and this is not needed.";

/// What `gateway dns serve` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: File,
    /// Where to answer, over UDP and TCP; several times for several addresses. Without it: port 53 of the private VIPs, which have
    /// to be this host's
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
}

/// Answers until SIGINT or SIGTERM; SIGHUP takes up a changed file.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    alone::run(&args.file.config, &args.listen)
}
