//! `gateway status`

use std::{fmt::Write as _, time::SystemTime};

use super::{
    Exit, Target, explain, print, print_json,
    screen::{Cell, Colour, Tone, cell, grouped, table, toned, wrap},
};
use crate::{
    model::{AdminState, CERTIFICATE_ENDS_SOON},
    status::{Endpoint, HealthWord, Instance, Outcome, SnatVip, State, Status, Vip},
};

const EXAMPLES: &str = "\
Examples:
  gateway status
      how the balancer on this host is, with what is wrong last; exit code 1 if anything is
  gateway status --json | jq .generation
      for programs (docs/status.schema.json)";

/// What `gateway status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print the whole state as JSON
    #[arg(long)]
    json: bool,
}

/// Shows a balancer's state.
///
/// # Errors
/// There is none, or something is wrong with it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = args.target.client()?;
    let status: Status = client.get("/v1/status").map_err(|error| explain(error, args.json))?;
    if args.json {
        print_json(&status)?;
    } else {
        print(&render(&status, SystemTime::now(), Colour::of_stdout()))?;
    }
    if status.trouble.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
}

/// All of it for people.
pub(super) fn render(status: &Status, now: SystemTime, colour: Colour) -> String {
    let mut text = headline(status, now, colour);
    let vips: Vec<_> = status.vips.iter().map(vip).collect();
    text += "\n";
    text += &table(&["VIP", "KIND", "INTERFACE", "PORTS", "STATE"], &vips, colour);
    text += "\n";
    let instances: Vec<_> = status.instances.iter().map(|one| instance(one, now)).collect();
    let head = ["INSTANCE", "ADMIN", "HEALTH", "WEIGHT", "SHARE", "BUCKETS", "FLOWS", "NOTE"];
    text += &table(&head, &instances, colour);
    text += &snat(status, colour);
    text += &certificates(status, now, colour);
    if status.windows.buckets > 0 || status.windows.affinity_switch {
        let switch = if status.windows.affinity_switch { ", and the affinity is being switched" } else { "" };
        let _ = write!(
            text,
            "\n{} of 65,537 buckets are moving{switch}\n",
            grouped(status.windows.buckets.into())
        );
    }
    text + &troubles(status, colour)
}

/// A line or two: the service, how it is, its file.
pub(super) fn headline(status: &Status, now: SystemTime, colour: Colour) -> String {
    let tone = match status.state {
        State::Serving => Tone::Good,
        State::Starting => Tone::Odd,
        State::Degraded | State::NotServing => Tone::Bad,
    };
    let apply = &status.configuration.last_apply;
    let outcome = match apply.outcome {
        Outcome::Refused | Outcome::RolledBack => Tone::Bad,
        Outcome::Watched => Tone::Odd,
        Outcome::NothingToDo | Outcome::Applied => Tone::Plain,
    };
    format!(
        "{}  {}, generation {}, for {}\n{}: {} {} ago by {}\n",
        colour.paint(Tone::Head, &status.service),
        colour.paint(tone, status.state.as_str()),
        status.generation,
        age(status.since.age(now)),
        status.configuration.file,
        colour.paint(outcome, apply.outcome.word()),
        age(apply.time.age(now)),
        apply.by,
    )
}

/// What is wrong, each with what mends it; last, where it is read first.
pub(super) fn troubles(status: &Status, colour: Colour) -> String {
    let mut text = String::new();
    for trouble in &status.trouble {
        for (place, line) in trouble.lines().flat_map(|line| wrap(line, 76)).enumerate() {
            let mark = if place == 0 { "\n!" } else { " " };
            let _ = write!(text, "{mark} {}", colour.paint(Tone::Bad, &line));
            text.push('\n');
        }
    }
    text
}

fn vip(vip: &Vip) -> Vec<Cell> {
    let udp = vip.udp_ports.iter().map(|port| format!("{port}/udp"));
    let ports = vip.ports.iter().map(ToString::to_string).chain(udp).collect::<Vec<_>>().join(" ");
    let state = match (&vip.reason, vip.ready) {
        (_, true) => toned(Tone::Good, "ready"),
        (Some(reason), false) => toned(Tone::Bad, format!("not ready: {reason}")),
        (None, false) => toned(Tone::Bad, "not ready"),
    };
    vec![cell(vip.address.to_string()), cell(vip.kind.as_str()), cell(&vip.interface), cell(ports), state]
}

fn instance(one: &Instance, now: SystemTime) -> Vec<Cell> {
    let admin = match one.admin_state {
        None => toned(Tone::Odd, "removed"),
        Some(state) => toned(if state == AdminState::Down { Tone::Odd } else { Tone::Plain }, word(state)),
    };
    let health = match one.health.as_ref().map(|health| health.state) {
        None => cell("-"),
        Some(state) => {
            let tone = match state {
                HealthWord::Up => Tone::Good,
                HealthWord::Unknown => Tone::Odd,
                HealthWord::Down | HealthWord::Gone => Tone::Bad,
            };
            toned(tone, state.as_str())
        }
    };
    let mut notes = Vec::new();
    if let Some(overridden) = &one.overridden {
        notes.push(format!("override; the file says {}", word(overridden.file)));
    }
    if let Some(drain) = &one.drain {
        notes.push(drain.ends.map_or("drains for ever".to_owned(), |end| {
            let left = std::time::Duration::from_secs_f64((end.seconds() - seconds(now)).max(0.0));
            format!("drains for {}", age(left))
        }));
    }
    if one.dips.iter().any(|dip| !dip.resolved) {
        notes.push("unresolved".to_owned());
    }
    vec![
        cell(&one.name),
        admin,
        health,
        cell(one.weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string())),
        cell(one.share.to_string()),
        cell(format!("{:.1} %", one.bucket_percent)),
        cell(one.flows.map_or_else(|| "-".to_owned(), |flows| grouped(flows.living))),
        cell(notes.join(", ")),
    ]
}

/// Ports by instance and VIP, and where flows go that find none, or the most of them.
fn snat(status: &Status, colour: Colour) -> String {
    let of = |one: &Instance| -> Vec<Vec<Cell>> {
        let Some(snat) = &one.snat else { return Vec::new() };
        let failed: u64 = snat.failed.values().sum();
        let top = snat.top.first().map_or_else(
            || "-".to_owned(),
            |top| format!("{} {}, {}", top.protocol, top.destination, grouped(top.flows.into())),
        );
        // What failed is known by instance, not by VIP: once.
        let row = |(place, vip): (usize, &SnatVip)| {
            let is_high = u64::from(vip.busiest) * 4 >= u64::from(vip.allocated) * 3 && vip.allocated > 0;
            vec![
                cell(&one.name),
                cell(vip.vip.to_string()),
                toned(if is_high { Tone::Odd } else { Tone::Plain }, grouped(vip.used.into())),
                cell(grouped(vip.allocated.into())),
                match (place, failed) {
                    (0, 0) => cell("0"),
                    (0, _) => toned(Tone::Bad, grouped(failed)),
                    _ => cell(""),
                },
                cell(if place == 0 { &top } else { "" }),
            ]
        };
        snat.vips.iter().enumerate().map(row).collect()
    };
    let rows: Vec<_> = status.instances.iter().flat_map(of).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["SNAT", "VIP", "USED", "ALLOCATED", "FAILED", "MOST TO"];
    format!("\n{}", table(&head, &rows, colour))
}

/// By role, the first end among those that instances show.
fn certificates(status: &Status, now: SystemTime, colour: Colour) -> String {
    let row = |one: &Endpoint| {
        let first = one.first_end.as_ref()?;
        let days = first.expires.days_left(now);
        let (tone, left) = match days {
            ..0.0 => (Tone::Bad, "expired".to_owned()),
            _ if days < CERTIFICATE_ENDS_SOON.into() => (Tone::Odd, format!("{days} days left")),
            _ => (Tone::Good, format!("{days} days left")),
        };
        let end = first.expires.to_string();
        let day = end.split('T').next().unwrap_or_default();
        Some(vec![cell(&one.role), toned(tone, left), cell(day), cell(&first.instance)])
    };
    let rows: Vec<_> = status.endpoints.iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&["CERTIFICATE", "GOOD FOR", "UNTIL", "SHOWN BY"], &rows, colour))
}

pub(super) fn word(state: AdminState) -> &'static str {
    state.as_str()
}

fn seconds(time: SystemTime) -> f64 {
    crate::status::Time::from(time).seconds()
}

/// `3h 2m`, to two units.
pub(super) fn age(duration: std::time::Duration) -> String {
    let text = humantime::format_duration(std::time::Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::{full, serving};

    #[test]
    fn r90_tables_fit_80_columns_and_every_state_is_a_word() {
        let text = render(&full(), SystemTime::UNIX_EPOCH, Colour::Off);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('\x1b'));
        for word in [
            "contoso  degraded",
            "generation 7",
            "not ready: ",
            "override; the",
            "drains for",
            "! gw-2 is down",
            "SHOWN BY",
            "gw-1  203.0.113.5  700   1,024      7       tcp 198.51.100.7:443, 600",
        ] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("! ") || last.starts_with("  "), "what is wrong comes last: {last}");
    }

    #[test]
    fn nothing_wrong_has_no_line_for_it() {
        let text = render(&serving(), SystemTime::UNIX_EPOCH, Colour::Off);
        assert!(text.lines().all(|line| !line.starts_with('!')), "{text}");
    }
}
