//! `gateway run`

use std::path::PathBuf;

/// What `gateway run` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let _model = crate::config::load(&args.config)?;
    Ok(())
}
