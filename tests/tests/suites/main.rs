//! Suites and clients from outside, through the proxy: what they say is not what its authors thought of.
//!
//! `cargo xtask setup` brings them: packages of the distribution, and in `target/tools/python` those of requirements.txt.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod autobahn;
mod grpc;
mod names;
mod slow;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lab::lab::Lab;

/// The environment's Python, or a program of one of its packages.
fn python(program: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin").join(program);
    assert!(path.exists(), "{} is not there: `cargo xtask setup` brings it", path.display());
    Command::new(path)
}

/// A script of these tests, where a process finds it.
fn script(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}
