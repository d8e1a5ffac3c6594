//! `gateway support`: one archive for whoever helps, without a name or an address of the operator's.
//!
//! `collect` asks for what is in it, `names` finds what must not be, `veil` puts something else in its place.

mod archive;
mod collect;
mod names;
mod veil;

use std::{path::PathBuf, time::SystemTime};

use anyhow::Context as _;

use self::veil::Veil;
use crate::control::{Target, print};

const EXAMPLES: &str = "\
Examples:
  gateway support
      write gateway-support.tar.gz: check, status, plan, doctor, counters, versions and the log of the last hour
  gateway support --output /tmp/case-17.tar.gz --since 1d
      the same there, with the log of a day
  gateway support --list
      print what would be in it, and write nothing

In the place of each name and address stands a word, the same in all files of one archive and another one in the next. \
Keys and tokens are not in it.";

/// What `gateway support` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// The archive
    #[arg(long, value_name = "FILE", default_value = "gateway-support.tar.gz")]
    output: PathBuf,
    /// How much of the log
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    since: std::time::Duration,
    /// Only print what would be in it
    #[arg(long)]
    list: bool,
}

/// Collects, veils, says what is inside, and writes.
///
/// # Errors
/// There is no file that would tell what the operator's names are; the archive cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.target.file().context(
        "there is no gateway.toml here, which says what names and addresses to leave out; name the file by --config FILE",
    )?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let veil = Veil::new(names::of(&text)).context("there is no randomness for this archive's words")?;
    let collected = collect::all(&args.target, &file, &text, args.since);
    let files: Vec<_> = collected.into_iter().map(|one| (one.name, veil.over(&one.text))).collect();
    let mut list = format!("{}:\n", args.output.display());
    for (name, text) in &files {
        list += &format!("  {name:<20} {:>9} bytes  {}\n", text.len(), collect::meaning(name));
    }
    print(&list)?;
    if args.list {
        return Ok(());
    }
    archive::write(&args.output, &files, SystemTime::now())
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    print(&format!("written, with {} names and addresses replaced\n", veil.replaced()))
}
