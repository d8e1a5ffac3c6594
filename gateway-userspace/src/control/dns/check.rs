//! `gateway dns check`

use std::net::SocketAddr;

use super::File;
use crate::{
    control::{
        Exit, print, print_json,
        screen::{Colour, Tone, cell, table, toned},
    },
    dns::{
        self,
        check::{Report, State},
        examine::{examine, server},
    },
};

const EXAMPLES: &str = "\
Examples:
  gateway dns check
      asks the servers of /etc/resolv.conf for every name, over UDP and TCP; exit code 1 if anything is not fine
  gateway dns check --server 10.0.0.5 --server 10.0.0.2
      the private VIP, and the network's own resolver
  gateway dns check --json | jq '.checks[] | select(.state != \"fine\")'
      for programs (docs/dns-check.schema.json)";

/// What `gateway dns check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: File,
    /// Whom to ask, several times for several servers; without it those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server)]
    server: Vec<SocketAddr>,
    /// Ask for this name only
    #[arg(long)]
    name: Option<String>,
    /// Print what is found as JSON
    #[arg(long)]
    json: bool,
}

/// Asks, and says what is wrong.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (model, records) = dns::load(&args.file.config)?;
    let report = examine(&model, &records, &args.server, args.name.as_deref())?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&render(&report, Colour::of_stdout()))?;
    }
    if report.ok { Ok(()) } else { Err(Exit(1).into()) }
}

fn render(report: &Report, colour: Colour) -> String {
    let rows: Vec<_> = report
        .checks
        .iter()
        .map(|check| {
            let tone = if check.state == State::Fine { Tone::Good } else { Tone::Bad };
            let addresses: Vec<_> = check.addresses.iter().map(ToString::to_string).collect();
            vec![
                cell(&check.name),
                cell(&check.server),
                toned(tone, check.state.as_str()),
                cell(addresses.join(" ")),
                cell(check.remedy.clone().unwrap_or_default()),
            ]
        })
        .collect();
    table(&["NAME", "SERVER", "STATE", "ADDRESSES", "WHAT TO DO"], &rows, colour)
}
