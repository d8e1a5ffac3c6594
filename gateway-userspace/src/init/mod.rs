//! `gateway init`: a first file, from what this host's kernel knows of its network.

mod ask;
mod text;

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context, bail};

use crate::net::Netlink;

const EXAMPLES: &str = "\
Examples:
  gateway init
      write gateway.toml here: this host's interface, subnet and address, and what else a file has, as comments
  gateway init --service contoso --config /etc/gateway/gateway.toml
      the same there; a file that is there already stays as it is
  gateway init --interface eth1 --print
      look at it first, for another interface than the one of the default route";

/// What `gateway init` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// What the service is called; default host names are made from it
    #[arg(long, value_name = "NAME", default_value = "contoso")]
    service: String,
    /// The interface on which clients arrive [default: the one of the default route]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Print the file, and write nothing
    #[arg(long)]
    print: bool,
}

/// Writes a file, or prints it.
///
/// # Errors
/// There is one already; this host has no interface that could be meant.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let found = runtime.block_on(async { ask::ask(&Netlink::open()?, args.interface.as_deref()).await })?;
    let text = text::file(&args.service, &found)?;
    // Whatever was typed as a name may make a file that is refused, and then it is not written.
    crate::config::parse(text.clone(), &args.config, std::path::Path::new(""))?;
    if args.print {
        return io::stdout().write_all(text.as_bytes()).context("cannot write to stdout");
    }
    let path = args.config.display();
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&args.config) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!(
                "{path} is there already, and stays as it is; `--print` shows what would be written, `--config FILE` names another one"
            )
        }
        Err(error) => return Err(error).context(format!("cannot write {path}")),
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {path}"))?;
    println!(
        "{path} is written, for {} ({}). Next:\n  gateway check --config {path}      what it says, and what is still missing\n  \
         gateway config show --config {path}      every default\n  gateway run --config {path}      balancer and this instance, on this host",
        found.interface, found.own[0].ip
    );
    Ok(())
}
