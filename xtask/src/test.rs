//! `cargo xtask test`: on this kernel all of them, on another ([`kernel`]) those of single packets.

use anyhow::Result;

use crate::{exec, setup, workspace};

mod cpio;
mod kernel;
mod machine;

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot the kernel of this Debian package (or .deb file) in an emulator, and run the tests of single packets there;
    /// without a name: list the packages that apt knows
    #[arg(long, value_name = "PACKAGE", num_args = 0..=1)]
    kernel: Option<Option<String>>,
    /// Handed to `cargo test --workspace`, e.g. a test's name, or `-- --nocapture`; with --kernel to the test executable
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The command.
///
/// # Errors
/// What could not be set up or built, or that a test failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.kernel {
        None => here(&args.arguments),
        Some(None) => kernel::list(),
        Some(Some(package)) => kernel::run(package, &args.arguments),
    }
}

/// Builds the binary that the end-to-end tests start, then runs everything.
fn here(arguments: &[String]) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "Not root: tests that load programs into the kernel or make network namespaces cannot run and will say so.\n\
             For all of them: sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test"
        );
    }
    setup::ensure_for_tests()?;
    exec::shown(exec::cargo().args(["build", "--package", "gateway-userspace"]))?;
    exec::shown(
        exec::cargo()
            .args(["test", "--workspace"])
            .args(arguments)
            // Else the lab takes the newest that was ever built, a release of yesterday perhaps.
            .env("GATEWAY_BIN", workspace::root().join("target/debug/gateway")),
    )
}
