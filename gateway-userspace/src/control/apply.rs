//! `gateway apply`

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use hyper::Method;
use serde::Serialize;

use super::{Exit, Target, explain, print, print_json, screen::grouped};
use crate::{
    api::{Applied, Apply, client::Client},
    config,
    status::{Outcome, Status},
};

/// Between two looks at what becomes of it.
const PAUSE: Duration = Duration::from_millis(250);
/// After the window, for the balancer to say what it decided.
const PATIENCE: Duration = Duration::from_secs(15);

const EXAMPLES: &str = "\
Examples:
  gateway apply
      moves the running balancer to its file, and waits whether instances stay healthy: if none is within the window,
      what was before comes back by itself
  gateway apply --confirm
      does not wait, and takes nothing back
  gateway apply --window 2m
      watches for longer

Exit codes: 0 in force, or nothing to do; 1 refused or rolled back; 2 the file has faults. After Ctrl-C the balancer goes on
watching.";

/// What `gateway apply` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Keep the new state whatever becomes of the instances, and do not wait
    #[arg(long)]
    confirm: bool,
    /// How long the new state is watched
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// The outcome for programs.
#[derive(Debug, Serialize)]
struct Finished {
    #[serde(flatten)]
    applied: Applied,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Moves the running balancer to its file.
///
/// # Errors
/// The file has faults, it was refused, or rolled back.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.target.file();
    if let Some(file) = &file {
        // All faults, drawn as `gateway check` draws them.
        config::load(file)?;
    }
    let client = args.target.client()?;
    let meant = file.map(|file| fs::canonicalize(&file).unwrap_or(file).display().to_string());
    let window = u32::try_from(args.window.as_secs()).unwrap_or(u32::MAX);
    let wish = Apply { confirm: args.confirm, window: Some(window), file: meant };
    let body = serde_json::to_vec(&wish).context("the request cannot be written as JSON")?;
    let asked = client.ask(Method::POST, "/v1/apply", body);
    let applied: Applied = asked.map_err(|error| explain(error, args.json))?;
    if !args.json {
        print(&said(&applied))?;
    }
    let (outcome, error) = match applied.window {
        None if applied.changed => (Outcome::Applied, None),
        None => (Outcome::NothingToDo, None),
        Some(window) => settled(&client, applied.generation, Duration::from_secs(window.into()))?,
    };
    let failed = error.is_some();
    if args.json {
        print_json(&Finished { applied, outcome, error })?;
    } else if let Some(error) = error {
        eprintln!("gateway: rolled back: {error}");
    } else if applied.window.is_some() {
        print("it stays\n")?;
    }
    if failed { Err(Exit(1).into()) } else { Ok(()) }
}

fn said(applied: &Applied) -> String {
    let generation = applied.generation;
    if !applied.changed {
        return format!("nothing to do: generation {generation} is what the file says\n");
    }
    let (buckets, entries) = (grouped(applied.buckets as u64), grouped(applied.entries as u64));
    let took = applied.microseconds as f64 / 1_000.0;
    let text = format!(
        "generation {generation} is in force: {buckets} buckets and {entries} other entries written in {took:.1} ms\n"
    );
    match applied.window {
        Some(window) => {
            text + &format!(
                "watched for {window} s: rolled back if no instance is healthy any more (`--confirm` does not wait)\n"
            )
        }
        None => text,
    }
}

/// Waits for the end of the window.
fn settled(client: &Client, generation: u64, window: Duration) -> anyhow::Result<(Outcome, Option<String>)> {
    let end = Instant::now() + window + PATIENCE;
    loop {
        let status: Status = client
            .get("/v1/status")
            .context("the balancer is watching the new state, and is lost from sight")?;
        let apply = status.configuration.last_apply;
        match apply.outcome {
            Outcome::RolledBack => return Ok((apply.outcome, Some(apply.error.unwrap_or_default()))),
            Outcome::Watched if status.generation == generation && Instant::now() < end => {
                thread::sleep(PAUSE);
            }
            // Somebody else has applied since, and that is what is watched now.
            _ => return Ok((Outcome::Applied, None)),
        }
    }
}
