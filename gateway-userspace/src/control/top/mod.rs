//! `gateway top`: what is forwarded and dropped in a second. [`samples`] makes rates of two looks, [`view`] is what is sorted and
//! filtered of them, [`draw`] the screen, [`plain`] the same as text.

mod draw;
mod plain;
mod samples;
mod view;

#[cfg(test)]
mod testing;

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use signal_hook::{consts::TERM_SIGNALS, flag};

use self::{
    samples::Samples,
    view::{Sort, View},
};
use super::{Target, explain, print, screen::Colour};
use crate::{api::client::Client, status::Status};

const EXAMPLES: &str = "\
Examples:
  gateway top
      packets, bits and connections a second, by VIP and instance, and drops; keys are below on the screen
  gateway top --sort bits --filter gw-
      the instances whose names have that in them, the busiest first
  gateway top --once
      one look of a second, as text";

/// A signal ends no wait for a key: so it is looked for in between.
const ATTENTION: Duration = Duration::from_millis(100);

/// What `gateway top` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print one look as text, as it is done where there is no terminal
    #[arg(long)]
    once: bool,
    /// Between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// By what lines are sorted, the largest first
    #[arg(long, value_enum, default_value = "name")]
    sort: Sort,
    /// Only lines that have this text in them
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

fn interval(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if range.contains(&interval) { Ok(interval) } else { Err("100ms to 60s".to_owned()) }
}

/// Shows them until it is left, or once.
///
/// # Errors
/// No balancer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = args.target.client()?;
    let colour = Colour::of_stdout();
    let mut view = View::new(args.sort, args.filter.clone());
    let mut samples = Samples::default();
    samples.take(Instant::now(), ask(&client)?);
    if args.once || !io::stdout().is_terminal() {
        thread::sleep(args.interval);
        samples.take(Instant::now(), ask(&client)?);
        return print(&plain::text(&samples, &view, colour));
    }
    // Whoever ends it from elsewhere finds the terminal as it was, too.
    let ended = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        flag::register(signal, Arc::clone(&ended)).context("cannot listen to signals")?;
    }
    let mut terminal = ratatui::try_init().context("this terminal cannot be drawn on; --once prints text")?;
    let outcome = follow(&mut terminal, &ended, &client, args.interval, &mut samples, &mut view, colour);
    ratatui::try_restore().context("the terminal cannot be put back; `reset` does")?;
    outcome
}

fn ask(client: &Client) -> anyhow::Result<Status> {
    let status: Status = client.get("/v1/status").map_err(|error| explain(error, false))?;
    if status.counters.is_none() {
        bail!("the balancer cannot read its counters; `gateway status` says why");
    }
    Ok(status)
}

/// Until a key ends it, or a signal. A balancer that does not answer is asked again: it may be on its way back.
fn follow(
    terminal: &mut DefaultTerminal,
    ended: &AtomicBool,
    client: &Client,
    interval: Duration,
    samples: &mut Samples,
    view: &mut View,
    colour: Colour,
) -> anyhow::Result<()> {
    let mut next = Instant::now() + interval;
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw::draw(frame, view, samples, colour)).context("cannot draw")?;
        let rest = next.saturating_duration_since(Instant::now());
        if event::poll(rest.min(ATTENTION)).context("cannot read the keyboard")? {
            if let Event::Key(key) = event::read().context("cannot read the keyboard")?
                && view.takes(key).is_break()
            {
                break;
            }
            continue;
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + interval;
        match ask(client) {
            Ok(status) => {
                view.trouble = None;
                samples.take(Instant::now(), status);
            }
            Err(error) => view.trouble = Some(format!("{error:#}")),
        }
    }
    Ok(())
}
