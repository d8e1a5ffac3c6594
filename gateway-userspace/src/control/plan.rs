//! `gateway plan`

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context;
use hyper::Method;

use super::{
    Exit, Target, explain, print, print_json,
    screen::{Colour, Tone, grouped},
    status::word,
};
use crate::{
    config,
    plan::{Action, Difference, FileChange},
};

const EXAMPLES: &str = "\
Examples:
  gateway plan
      what `gateway apply` would change; changes nothing
  gateway plan --config /tmp/new.toml --exit-code
      what another file would change; exit code 3 if anything";

/// What `gateway plan` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print the difference as JSON
    #[arg(long)]
    json: bool,
    /// Exit with 3 if there are changes
    #[arg(long)]
    exit_code: bool,
}

/// Shows what a file would change.
///
/// # Errors
/// The file has faults, no balancer runs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.target.file().context("there is no gateway.toml here; name the file by --config FILE")?;
    // All faults, drawn as `gateway check` draws them.
    let model = config::load(&file)?;
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let client = args.target.client().with_context(|| {
        format!(
            "nothing to compare {} with: its {} instances would all be new",
            file.display(),
            model.instances.len()
        )
    })?;
    let asked = client.ask(Method::POST, &plan_path(&file), text);
    let difference: Difference = asked.map_err(|error| explain(error, args.json))?;
    if args.json {
        print_json(&difference)?;
    } else {
        print(&render(&difference, &file, Colour::of_stdout()))?;
    }
    if args.exit_code && !difference.changes.is_empty() { Err(Exit(3).into()) } else { Ok(()) }
}

/// For people: `+` comes, `-` goes, `~` changes, `!` an address that somebody is reached by.
fn render(difference: &Difference, file: &Path, colour: Colour) -> String {
    let mut text = String::new();
    if difference.changes.is_empty() {
        text += &format!("{}: nothing would change (generation {})\n", file.display(), difference.generation);
    } else {
        let generation = difference.generation;
        text += &format!("{}: generation {generation} would become {}\n\n", file.display(), generation + 1);
        difference.changes.iter().for_each(|change| text += &line(change, colour));
    }
    if let Some(moved) = difference.buckets.filter(|_| !difference.changes.is_empty()) {
        let (number, of) = (grouped(moved.moved as u64), grouped(moved.of as u64));
        let _ = write!(
            text,
            "\n{number} of {of} buckets would move ({:.2} %); flows that began stay where they are\n",
            moved.percent
        );
    }
    for one in &difference.overrides {
        let state = word(one.admin_state);
        let _ = write!(
            text,
            "\ninstance {} stays {state}, set at run time (`gateway instance auto {}`)\n",
            one.instance, one.instance
        );
    }
    for restart in &difference.restarts {
        let what = format!("{} takes a restart: {}", restart.key, restart.why);
        let _ =
            write!(text, "\n{} `gateway apply` refuses it\n", colour.paint(Tone::Bad, &format!("! {what};")));
    }
    for refusal in &difference.refusals {
        let _ = write!(
            text,
            "\n{}\n",
            colour.paint(Tone::Bad, &format!("! `gateway apply` would refuse it: {refusal}"))
        );
    }
    text
}

fn line(change: &FileChange, colour: Colour) -> String {
    let (sign, tone) = match change.action {
        Action::Added => ('+', Tone::Good),
        Action::Removed => ('-', Tone::Odd),
        Action::Changed => ('~', Tone::Plain),
    };
    let (mark, tone) = if change.address { ('!', Tone::Bad) } else { (' ', tone) };
    let key = change.key.as_ref().map_or_else(String::new, |key| format!(" {key}"));
    let values = match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!(": {from} -> {to}"),
        (Some(one), None) | (None, Some(one)) => format!(": {one}"),
        (None, None) => String::new(),
    };
    format!("{}\n", colour.paint(tone, &format!("{mark}{sign} {}{key}{values}", change.subject)))
}

/// What to ask for a plan of this file.
pub(crate) fn plan_path(file: &Path) -> String {
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    format!("/v1/plan?path={}", encoded(&path))
}

/// RFC 3986, 2.1; a path's `/` may stand in a query.
fn encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, &byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(byte.into());
        } else {
            // A string takes everything.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Moved, Override, Restart};

    fn change(action: Action, address: bool) -> FileChange {
        FileChange {
            subject: "vip".into(),
            action,
            key: Some("private".into()),
            from: (action != Action::Added).then(|| "10.0.0.5".into()),
            to: (action != Action::Removed).then(|| "10.0.0.6".into()),
            address,
        }
    }

    fn difference(changes: Vec<FileChange>) -> Difference {
        Difference {
            schema_version: 1,
            generation: 4,
            changes,
            restarts: vec![],
            refusals: vec![],
            buckets: Some(Moved { moved: 16_384, of: 65_537, percent: 25.0 }),
            overrides: vec![],
        }
    }

    #[test]
    fn r8_addresses_stand_out_with_and_without_colour() {
        let difference = difference(vec![change(Action::Removed, true), change(Action::Added, true)]);
        let plain = render(&difference, Path::new("gateway.toml"), Colour::Off);
        assert_eq!(
            plain,
            "gateway.toml: generation 4 would become 5\n\n!- vip private: 10.0.0.5\n!+ vip private: 10.0.0.6\n\n\
             16,384 of 65,537 buckets would move (25.00 %); flows that began stay where they are\n"
        );
        let coloured = render(&difference, Path::new("gateway.toml"), Colour::On);
        assert!(coloured.contains("\x1b[31;1m!- vip private: 10.0.0.5\x1b[0m\n"), "{coloured}");
    }

    #[test]
    fn what_takes_a_restart_is_said_with_its_reason() {
        let mut difference = difference(vec![change(Action::Changed, false)]);
        difference.restarts.push(Restart {
            key: "balancer.seed".into(),
            from: "a".into(),
            to: "b".into(),
            why: "hashes".into(),
        });
        difference
            .overrides
            .push(Override { instance: "gw-1".into(), admin_state: crate::model::AdminState::Down });
        let text = render(&difference, Path::new("gateway.toml"), Colour::Off);
        assert!(
            text.contains("! balancer.seed takes a restart: hashes; `gateway apply` refuses it"),
            "{text}"
        );
        assert!(text.contains("instance gw-1 stays down, set at run time"), "{text}");
        assert!(text.contains(" ~ vip private: 10.0.0.5 -> 10.0.0.6"), "{text}");
    }

    #[test]
    fn a_path_of_any_bytes_fits_into_a_query() {
        assert_eq!(encoded(Path::new("/etc/my gateway/ä.toml")), "/etc/my%20gateway/%C3%A4.toml");
    }
}
