//! What is made from the command line's own description: completions for shells, pages for man(1).

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  gateway completions bash > /etc/bash_completion.d/gateway
  gateway completions zsh > ~/.zfunc/_gateway
  gateway completions fish > ~/.config/fish/completions/gateway.fish";

/// What `gateway completions` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// What `gateway manual` takes.
#[derive(Debug, clap::Args)]
pub struct ManualArgs {
    /// Where the pages go: gateway.1, gateway-balance.1 and so on
    folder: PathBuf,
}

/// Writes a shell's completions to standard output.
///
/// # Errors
/// It cannot be written to.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    io::stdout().write_all(&text).context("cannot write the completions")
}

/// Writes the pages.
///
/// # Errors
/// The folder cannot be written.
pub fn manual(args: &ManualArgs, command: Command) -> anyhow::Result<()> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).with_context(|| format!("cannot write to {}", folder.display()))
}
