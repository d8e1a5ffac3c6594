//! Where things are.

use std::path::{Path, PathBuf};

/// The workspace's root, whatever the current folder is.
pub(crate) fn root() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// Where tools are kept: below `target/`, so that they leave with it and never meet the user's own.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A tool's executable.
pub(crate) fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(name)
}

/// Where images of other kernels are kept.
pub(crate) fn kernels() -> PathBuf {
    root().join("target/kernels")
}

/// One line, the name of the rustup toolchain that compiles the kernel programs: gateway-userspace's build script reads it.
pub(crate) fn bpf_toolchain_file() -> PathBuf {
    tools().join("bpf-toolchain")
}
