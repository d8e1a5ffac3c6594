//! `cargo xtask test`

use anyhow::Result;

use crate::{exec, setup, workspace};

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Handed to `cargo test --workspace`, e.g. a test's name, or `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

/// Builds the binary that the end-to-end tests start, then runs everything.
///
/// # Errors
/// What could not be set up or built, or that a test failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "Not root: tests that load programs into the kernel or make network namespaces cannot run and will say so.\n\
             For all of them: sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test"
        );
    }
    setup::ensure()?;
    exec::shown(exec::cargo().args(["build", "--package", "gateway-userspace"]))?;
    exec::shown(
        exec::cargo()
            .args(["test", "--workspace"])
            .args(&args.cargo_test)
            // Else the lab takes the newest that was ever built, a release of yesterday perhaps.
            .env("GATEWAY_BIN", workspace::root().join("target/debug/gateway")),
    )
}
