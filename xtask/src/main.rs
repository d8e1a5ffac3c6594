//! `cargo xtask`: the one door to building, testing and trying gateway. One file a command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod console;
mod dist;
mod exec;
mod run;
mod setup;
mod test;
mod tools;
mod verify;
mod workspace;

/// Builds, tests and tries gateway. Every command brings what it needs first (see `setup`).
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the BPF toolchain and the clients that tests use; safe to repeat
    Setup(setup::Args),
    /// Build target/release/gateway
    Build,
    /// Raise the lab, send real requests through it, show what happened, stay up until Ctrl-C
    Run(run::Args),
    /// All tests, those in the kernel included (they need root)
    Test(test::Args),
    /// Measure, beside what it is compared with in the same run
    Bench(bench::Args),
    /// Write target/dist: an archive with the program, units, completions, pages and documents
    Dist(dist::Args),
    /// Formatting, lints, the kernel object, licences, documentation: what must be clean before a change lands
    Verify,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Build => build::run(),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Verify => verify::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
