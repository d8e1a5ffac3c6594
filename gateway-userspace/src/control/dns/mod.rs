//! `gateway dns`: the names in the DNS, for people who run other servers, and for those who let gateway answer.

mod check;
mod hosts;
mod serve;
mod zone;

use std::path::PathBuf;

use clap::Subcommand;

/// What `gateway dns` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print lines for /etc/hosts
    Hosts(hosts::Args),
    /// Print records for other name servers
    Zone(zone::Args),
    /// Answer for the names, without a proxy
    Serve(serve::Args),
    /// Ask whom clients ask, and say what is wrong
    Check(check::Args),
}

/// The file.
#[derive(Debug, clap::Args)]
struct File {
    /// The configuration file
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

/// Does as it is told.
///
/// # Errors
/// The file has faults; what could not be written or asked.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Hosts(args) => hosts::run(args),
        Command::Zone(args) => zone::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
    }
}
