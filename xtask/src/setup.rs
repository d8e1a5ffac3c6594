//! `cargo xtask setup`: a compiler and a linker for the kernel programs, and the programs that tests run as clients.
//!
//! It looks first and does only what is missing, so that every other command can call it. What it brings: a rustup toolchain
//! with rust-src ([`toolchain`]), LLVM's libraries and bpf-linker ([`linker`]), clients ([`clients`]), and those of them that are
//! Python packages ([`python`]).

use std::time::Instant;

use anyhow::Result;

use crate::{console::seconds, workspace};

mod apt;
mod clients;
pub(crate) mod kernel;
mod linker;
mod python;
mod rustup;
mod toolchain;

pub(crate) use clients::{Client, MASQUERADE, PEERS, PROXIES, QUESTIONS};

/// What `cargo xtask setup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say what is missing and how it would be brought, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Whether what is missing is brought, or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bring,
    Tell,
}

/// A set-up under way.
#[derive(Debug)]
struct Setup {
    mode: Mode,
    /// Whether anything was missing.
    missing: bool,
    apt: apt::Apt,
}

impl Setup {
    fn new(mode: Mode) -> Self {
        Self { mode, missing: false, apt: apt::Apt::default() }
    }

    /// All of it.
    fn run(&mut self) -> Result<()> {
        let toolchain = toolchain::ensure(self)?;
        linker::ensure(self, toolchain.as_ref())?;
        clients::ensure(self)
    }

    /// Notes that something is missing; in [`Mode::Tell`] says so. True where it is to be brought now.
    fn wants(&mut self, what: &str) -> bool {
        self.missing = true;
        if self.mode == Mode::Tell {
            println!("would {what}");
        }
        self.mode == Mode::Bring
    }
}

/// The command.
///
/// # Errors
/// What is missing and cannot be brought, with the next step.
pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let mut setup = Setup::new(if args.dry_run { Mode::Tell } else { Mode::Bring });
    setup.run()?;
    for_tests(&mut setup)?;
    if !setup.missing {
        println!("nothing to do: everything is there");
    } else if !args.dry_run {
        println!(
            "all is there now ({}); tools are in {}",
            seconds(began.elapsed()),
            workspace::tools().display()
        );
    }
    Ok(())
}

/// For the other commands: brings what is missing, says nothing where nothing is.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure() -> Result<()> {
    ensure_with(&[])
}

/// As [`ensure`], and what tests alone run.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure_for_tests() -> Result<()> {
    let mut setup = Setup::new(Mode::Bring);
    setup.run()?;
    for_tests(&mut setup)
}

fn for_tests(setup: &mut Setup) -> Result<()> {
    clients::bring(setup, clients::BROWSER)?;
    python::ensure(setup)
}

/// As [`ensure`], and programs that one command alone needs.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure_with(programs: &[Client]) -> Result<()> {
    let mut setup = Setup::new(Mode::Bring);
    setup.run()?;
    clients::bring(&mut setup, programs)
}
