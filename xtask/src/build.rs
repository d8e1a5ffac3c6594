//! `cargo xtask build`

use std::path::PathBuf;

use anyhow::Result;

use crate::{exec, setup, workspace};

/// The command.
///
/// # Errors
/// What could not be set up or built.
pub(crate) fn run() -> Result<()> {
    println!("{}", gateway()?.display());
    Ok(())
}

/// Builds `target/release/gateway` and says where it is.
///
/// # Errors
/// As [`run`].
pub(crate) fn gateway() -> Result<PathBuf> {
    setup::ensure()?;
    exec::shown(exec::cargo().args(["build", "--release", "--package", "gateway-userspace"]))?;
    Ok(workspace::root().join("target/release/gateway"))
}
