//! `cargo xtask verify`

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{console::seconds, exec, setup, tools::Tool, workspace};

mod object;

/// cargo-deny, pinned: a newer one may read deny.toml otherwise.
const CARGO_DENY: &str = "0.20.2";

/// One thing that must be clean.
struct Check {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// All of them, the quick ones first.
const CHECKS: &[Check] = &[
    Check { name: "formatting", run: formatting },
    Check { name: "lints", run: lints },
    Check { name: "kernel object", run: kernel_object },
    Check { name: "documentation", run: documentation },
    Check { name: "licences and sources of dependencies", run: dependencies },
];

/// Runs every check, also after one has failed, so that one call shows all there is to mend.
///
/// # Errors
/// The names of those that failed; each has said why.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    let mut failed = Vec::new();
    for check in CHECKS {
        let began = Instant::now();
        eprintln!("{} ...", check.name);
        let outcome = (check.run)();
        let took = seconds(began.elapsed());
        match outcome {
            Ok(()) => eprintln!("{}: clean ({took})", check.name),
            Err(error) => {
                eprintln!("{}: not clean ({took}): {error:#}", check.name);
                failed.push(check.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("not clean: {}", failed.join(", "));
    }
    println!("verified: {}", CHECKS.iter().map(|check| check.name).collect::<Vec<_>>().join(", "));
    Ok(())
}

fn formatting() -> Result<()> {
    exec::shown(exec::cargo().args(["fmt", "--all", "--check"])).context("`cargo fmt --all` mends it")
}

fn lints() -> Result<()> {
    exec::shown(exec::cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

/// After the lints, for which gateway-userspace's build script has just built it.
fn kernel_object() -> Result<()> {
    let path = workspace::root().join("target/bpf/bpfel-unknown-none/release/gateway-ebpf");
    let elf = fs::read(&path)
        .with_context(|| format!("{} could not be read; `cargo xtask build` makes it", path.display()))?;
    let faults = object::faults(&elf)?;
    for fault in &faults {
        eprintln!("{}: {fault}", path.display());
    }
    if !faults.is_empty() {
        bail!("{} faults", faults.len());
    }
    Ok(())
}

fn documentation() -> Result<()> {
    let mut command = exec::cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    exec::shown(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Without the advisories: those need a database from outside at the time of the check, and the same commit would pass today and fail
/// tomorrow.
fn dependencies() -> Result<()> {
    // Unoptimised: it runs for a second, and building it optimised takes twice as long.
    let deny = Tool::new("cargo-deny", CARGO_DENY, &["--debug"]);
    if !deny.is_there() {
        deny.build()?;
    }
    // Dependencies for systems that this is not are listed too, and a build has not brought them.
    exec::shown(exec::cargo().args(["fetch", "--locked"]))?;
    let mut command = Command::new(workspace::tool("cargo-deny"));
    command.current_dir(workspace::root()).args([
        "--offline",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    exec::shown(&mut command)
}
