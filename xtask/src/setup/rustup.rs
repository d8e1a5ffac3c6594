//! What rustup has, and what it can get.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{
    console::Step,
    exec::{self, Failure},
};

/// The oldest release that the workspace is built with.
pub(super) const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");

/// A toolchain that can compile for `bpfel-unknown-none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// As rustup calls it.
    pub(super) name: String,
    /// The major version of the LLVM inside.
    pub(super) llvm: u32,
}

/// rustup, told not to install a toolchain by itself because one was named.
fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command.env("RUSTUP_AUTO_INSTALL", "0").env_remove("RUST_BACKTRACE");
    command
}

/// Whether there is one.
pub(super) fn is_here() -> bool {
    exec::ask(rustup().arg("--version")).is_some()
}

/// The toolchain in use in this folder.
pub(super) fn active() -> Option<String> {
    let answer =
        exec::ask(rustup().args(["show", "active-toolchain"]).current_dir(crate::workspace::root()))?;
    answer.split_whitespace().next().map(ToOwned::to_owned)
}

/// All toolchains, the active one first.
pub(super) fn toolchains() -> Vec<String> {
    let listed = exec::ask(rustup().args(["toolchain", "list"])).unwrap_or_default();
    let mut names: Vec<String> =
        listed.lines().filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect();
    let active = active();
    names.sort_by_key(|name| Some(name) != active.as_ref());
    names
}

/// Looks whether a toolchain has all that building `core` from source takes.
///
/// # Errors
/// What it lacks, in a few words.
pub(super) fn inspect(name: &str) -> Result<Toolchain, String> {
    let rustc = |argument: &[&str]| exec::ask(rustup().args(["run", name, "rustc"]).args(argument));
    let version = rustc(&["--version", "--verbose"]).ok_or("rustup cannot run its rustc")?;
    let sysroot = rustc(&["--print", "sysroot"]).map(PathBuf::from).ok_or("it has no sysroot")?;
    if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists() {
        return Err("it has no rust-src".into());
    }
    // rustup lends a linked toolchain without a cargo somebody else's: what that makes of another release's library sources is
    // anybody's guess.
    if !sysroot.join("bin/cargo").exists() {
        return Err("it has no cargo".into());
    }
    let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let release = field("release:").ok_or("its version is unreadable")?;
    if !is_new_enough(release) {
        return Err(format!("it is {release}, and {NEEDED} is needed"));
    }
    let llvm = field("LLVM version:")
        .and_then(|text| numbers(text).first().copied())
        .ok_or("its LLVM is unknown")?;
    Ok(Toolchain { name: name.to_owned(), llvm })
}

/// Whether a release, or a package made from one, is not older than [`NEEDED`].
pub(super) fn is_new_enough(version: &str) -> bool {
    numbers(version) >= numbers(NEEDED)
}

/// `1.96.0-nightly` → 1, 96, 0
fn numbers(version: &str) -> Vec<u32> {
    let release = version.split(['-', '+']).next().unwrap_or(version);
    release.split('.').map_while(|part| part.parse().ok()).collect()
}

/// Something that rustup is asked to fetch. Without a network it says so at once, and where a network swallows packets the
/// limits end it: 15 s without a byte, `limit` in all.
pub(super) fn fetch(arguments: &[&str], limit: Duration, step: &Step) -> Result<(), Failure> {
    let mut command = rustup();
    command.args(arguments).env("RUSTUP_DOWNLOAD_TIMEOUT", "15").env("RUSTUP_MAX_RETRIES", "0");
    exec::watched(&mut command, step, limit)
}

/// Makes a toolchain of the distribution's packages known under `name`.
pub(super) fn link_usr(name: &str, step: &Step) -> Result<(), Failure> {
    exec::watched(rustup().args(["toolchain", "link", name, "/usr"]), step, Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(numbers("1.101.0-nightly"), [1, 101, 0]);
        assert!(numbers("1.101.0-nightly") > numbers("1.95"));
        assert!(numbers("1.63.0") < numbers("1.95"));
        assert!(numbers("1.95.0") > numbers("1.95"));
        assert!(is_new_enough("1.101.0+dfsg1-1~deb12u2") && !is_new_enough("1.63.0+dfsg1-2"));
    }

    #[test]
    fn a_toolchain_that_is_not_there_is_no_good() {
        assert_eq!(inspect("no-such-toolchain"), Err("rustup cannot run its rustc".to_owned()));
    }
}
