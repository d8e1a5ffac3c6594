//! `gateway check`

use std::path::PathBuf;

/// What `gateway check` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

/// Checks a file.
///
/// # Errors
/// [`super::Faults`]
pub fn run(args: &Args) -> anyhow::Result<()> {
    super::load(&args.config)?;
    Ok(())
}
