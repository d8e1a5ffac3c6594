//! `gateway doctor`

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::ValueEnum;

use super::{
    Exit, Target, print, print_json,
    screen::{Colour, Tone, wrap},
};
use crate::{
    dns::examine::server,
    doctor::{self, ALL, Ask, Checked, Finding, PREFLIGHT, Place, Report, Severity, State},
};

const EXAMPLES: &str = "\
Examples:
  gateway doctor
      on the balancer, an instance or a client: what is wrong there, the cause of most of it first
  gateway doctor --preflight
      before the first start of a balancer: kernel, driver, privileges, the link, the file
  gateway doctor --from 198.51.100.7
      and whether that client outside reaches port 3443 of the public VIP
  gateway doctor --server 10.0.0.2
      and whether that resolver's names lead to the VIP, in place of those of /etc/resolv.conf
  gateway doctor --json | jq '.checks[] | select(.state == \"error\")'
      for programs (docs/doctor.schema.json)

It changes nothing. Exit code 0 if nothing is wrong, 1 for warnings, 2 for errors. What cannot be told is no fault.";

/// What `gateway doctor` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file [default: gateway.toml here, or /etc/gateway/gateway.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only what means something before a balancer's first start here
    #[arg(long)]
    preflight: bool,
    /// What this host is, in place of what it looks like; several times for several
    #[arg(long = "as", value_name = "PLACE", value_enum, conflicts_with = "preflight")]
    place: Vec<Role>,
    /// A client outside, who is to reach port 3443 of the public VIP; several times for several
    #[arg(long, value_name = "ADDRESS")]
    from: Vec<IpAddr>,
    /// Whom to ask for names; several times for several [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server)]
    server: Vec<SocketAddr>,
    /// Show the checks that found nothing too
    #[arg(long)]
    all: bool,
    /// Print what is found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// `gateway balance` is to run here
    Balancer,
    /// `gateway proxy` is to run here
    Instance,
    /// Neither
    Client,
}

/// Looks, and says what is wrong.
///
/// # Errors
/// Something is wrong.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let target = Target { config: args.config.clone(), socket: None };
    let place = |role: &Role| match role {
        Role::Balancer => Place::Balancer,
        Role::Instance => Place::Instance,
        Role::Client => Place::Client,
    };
    let ask = Ask {
        file: target.file().unwrap_or_else(|| PathBuf::from("gateway.toml")),
        place: args.place.iter().map(place).collect(),
        from: args.from.clone(),
        servers: args.server.clone(),
        is_first: args.preflight,
    };
    let facts = doctor::gather(&ask)?;
    let chosen = ALL.iter().filter(|check| !args.preflight || PREFLIGHT.contains(&check.id()));
    let report = doctor::examine(&chosen.copied().collect::<Vec<_>>(), &facts);
    if args.json {
        print_json(&report)?;
    } else {
        print(&render(&report, args.all, Colour::of_stdout()))?;
    }
    match report.worst() {
        None => Ok(()),
        Some(Severity::Warning) => Err(Exit(1).into()),
        Some(Severity::Error) => Err(Exit(2).into()),
    }
}

/// The cause of most first, with what depends on it; then all else that was found.
fn render(report: &Report, all: bool, colour: Colour) -> String {
    let mut text =
        format!("{}\n", colour.paint(Tone::Head, &format!("this host: {}", report.place.join(", "))));
    let root = report.checks.iter().find(|check| Some(&check.id) == report.root_cause.as_ref());
    let others = report.checks.iter().filter(|check| Some(&check.id) != report.root_cause.as_ref());
    let others: Vec<_> = others.collect();
    for check in root.into_iter().chain(others.iter().copied()) {
        check.findings.iter().for_each(|one| finding(&mut text, check, one, colour));
    }
    text.push('\n');
    let state = |state: State| others.iter().filter(move |check| check.state == state);
    let mut line = |check: &Checked, tone| {
        let word = colour.paint(tone, check.state.as_str());
        for (place, part) in wrap(&check.evidence, 50).iter().enumerate() {
            let (word, id) = if place == 0 { (word.as_str(), check.id.as_str()) } else { ("", "") };
            let pad =
                " ".repeat(8usize.saturating_sub(if place == 0 { check.state.as_str().len() } else { 0 }));
            let _ = writeln!(text, "  {word}{pad} {id:<16} {part}");
        }
    };
    if all {
        state(State::Fine).for_each(|check| line(check, Tone::Good));
    }
    state(State::Unknown).for_each(|check| line(check, Tone::Odd));
    let is_blocked = |check: &&&Checked| all || check.evidence.starts_with("because");
    state(State::Skipped).filter(is_blocked).for_each(|check| line(check, Tone::Odd));
    let fine = state(State::Fine).count();
    let found: usize = report.checks.iter().map(|check| check.findings.len()).sum();
    let (tone, word) = match report.worst() {
        None => (Tone::Good, "nothing is wrong".to_owned()),
        Some(Severity::Warning) => (Tone::Odd, format!("{found} warnings")),
        Some(Severity::Error) => (Tone::Bad, format!("{found} findings")),
    };
    let _ = writeln!(text, "{}; {fine} checks are fine", colour.paint(tone, &word));
    text
}

fn finding(text: &mut String, check: &Checked, one: &Finding, colour: Colour) {
    let (tone, word) = match one.severity {
        Severity::Warning => (Tone::Odd, "warning"),
        Severity::Error => (Tone::Bad, "error"),
    };
    let _ = writeln!(text, "\n{} {}", colour.paint(tone, word), check.id);
    for (label, what) in [("", &one.cause), ("seen by ", &one.evidence), ("mend it ", &one.remedy)] {
        for (place, part) in what.lines().flat_map(|line| wrap(line, 68)).enumerate() {
            let label = if place == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<8}{part}");
        }
    }
}
