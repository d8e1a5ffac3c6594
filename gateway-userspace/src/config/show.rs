//! `gateway config`

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::effective::{self, Effective, Section};

const EXAMPLES: &str = "\
Examples:
  gateway config show
      what gateway.toml says, with the line that says it; what it does not say stands behind # with its default
  gateway config show --config /etc/gateway/gateway.toml --json | jq '.values[] | select(.from == \"file\").key'
      for programs (docs/config-show.schema.json)";

/// What `gateway config` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what holds, and where each value comes from
    Show(Show),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Show {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Print the values as JSON
    #[arg(long)]
    json: bool,
}

/// Shows a file that has no faults.
///
/// # Errors
/// All of its faults, if it has any.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Show(Show { config, json }) = &args.command;
    let shown = match json {
        true => {
            let document = Effective::new(config, &read(config)?);
            serde_json::to_string_pretty(&document).context("this cannot be written as JSON")? + "\n"
        }
        false => text(config)?,
    };
    match io::stdout().lock().write_all(shown.as_bytes()) {
        // Whoever reads no further has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// What holds, as a file again.
pub(crate) fn text(config: &Path) -> anyhow::Result<String> {
    Ok(effective::render(config, &read(config)?))
}

fn read(config: &Path) -> anyhow::Result<Vec<Section>> {
    super::load(config)?;
    let cannot = || format!("cannot read {}", config.display());
    let text = fs::read_to_string(config).with_context(cannot)?;
    effective::sections(&text).with_context(cannot)
}
