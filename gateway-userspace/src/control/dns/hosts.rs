//! `gateway dns hosts`

use super::File;
use crate::{
    control::print,
    dns::{self, formats},
};

const EXAMPLES: &str = "\
Examples:
  gateway dns hosts
      lines for every name, for /etc/hosts and for C:\\Windows\\System32\\drivers\\etc\\hosts
  gateway dns hosts --config gateway.toml >> /etc/hosts
  diff <(gateway dns hosts) <(grep -F -f <(gateway dns hosts) /etc/hosts)
      what of it a host's file does not have";

/// What `gateway dns hosts` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: File,
}

/// Prints the block.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (_, records) = dns::load(&args.file.config)?;
    print(&formats::hosts::text(&records))
}
