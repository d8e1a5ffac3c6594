//! `gateway token`

use anyhow::{Context, bail};

use super::print;
use crate::api::tokens::{self, Role};

const EXAMPLES: &str = "\
Examples:
  gateway token deploy --role write
      prints a new token, and the line for the file that `balancer.tokens` names; the token is not to be found out from the line
  curl -H \"Authorization: Bearer $TOKEN\" http://10.0.0.2:9180/v1/status";

/// What `gateway token` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose it is; the audit log names it
    name: String,
    /// What it is good for
    #[arg(long, value_enum, default_value = "read")]
    role: Role,
}

/// Makes a token.
///
/// # Errors
/// A name that cannot stand in the file.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let name = &args.name;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        bail!("{name:?} cannot be a token's name: letters, digits, `-`, `_` and `.`");
    }
    let (token, line) = tokens::make(name, args.role).context("no token can be made")?;
    print(&format!("token  {token}\nline   {line}\n"))
}
