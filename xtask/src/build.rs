//! `cargo xtask build`

use anyhow::Result;

use crate::{exec, setup, workspace};

/// Leaves `target/release/gateway`.
///
/// # Errors
/// What could not be set up or built.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    exec::shown(exec::cargo().args(["build", "--release", "--package", "gateway-userspace"]))?;
    println!("{}", workspace::root().join("target/release/gateway").display());
    Ok(())
}
