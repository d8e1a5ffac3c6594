//! `cargo xtask bench`

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{exec, setup};

/// What `cargo xtask bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is measured
    #[arg(value_enum)]
    what: What,
    /// Fewer rounds: seconds instead of a minute, and noisier
    #[arg(long)]
    quick: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Nanoseconds a packet in the kernel program, above an empty program in the same rounds
    Packets,
}

/// Measures.
///
/// # Errors
/// Not root; what could not be set up, built or run.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "a bench loads programs into the kernel, which root may: sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask bench"
    );
    setup::ensure()?;
    let target = match args.what {
        What::Packets => "packets",
    };
    let mut cargo = exec::cargo();
    cargo.args(["bench", "--package", "lab", "--bench", target, "--"]);
    cargo.args(args.quick.then_some("--quick")).args(args.json.then_some("--json"));
    exec::shown(&mut cargo)
}
