//! `gateway drops`

mod follow;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Target, explain, print, print_json,
    screen::{Colour, Tone, cell, grouped, table, toned},
};
use crate::dataplane::Dropped;

const EXAMPLES: &str = "\
Examples:
  gateway drops
      why packets for the VIPs were dropped, how many, and what to do about it
  gateway drops --follow
      what is dropped from now on, once a second, with a packet of each kind where one is shown
  gateway drops --json | jq '.drops[] | select(.reason == \"no-service\")'";

/// What `gateway drops` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    /// Go on with what is dropped from now on, until Ctrl-C; with --json a line for each kind and second
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Deserialize)]
struct Drops {
    drops: Vec<Dropped>,
}

/// Lists what was dropped, or what is.
///
/// # Errors
/// No balancer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = args.target.client()?;
    if args.follow {
        return follow::follow(&client, args.json);
    }
    if args.json {
        return print_json(&client.get::<Value>("/v1/drops").map_err(|error| explain(error, true))?);
    }
    let Drops { drops } = client.get("/v1/drops").map_err(|error| explain(error, false))?;
    print(&render(drops, Colour::of_stdout()))
}

/// The most frequent first.
fn render(mut drops: Vec<Dropped>, colour: Colour) -> String {
    if drops.is_empty() {
        return "nothing was dropped\n".to_owned();
    }
    drops.sort_by_key(|one| std::cmp::Reverse(one.packets));
    let rows: Vec<_> = drops
        .iter()
        .map(|one| {
            let sample =
                one.sample.as_ref().map_or_else(String::new, |shown| format!(" (last: {})", shown.line));
            vec![
                cell(grouped(one.packets)),
                cell(one.name.clone()),
                toned(Tone::Odd, one.reason.to_string()),
                cell(format!("{}; {}{sample}", one.meaning, one.remedy)),
            ]
        })
        .collect();
    table(&["PACKETS", "FOR", "REASON", "WHAT IT MEANS, AND WHAT TO DO"], &rows, colour)
}
