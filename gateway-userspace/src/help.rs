//! `gateway help WORD`: a command, a code of `gateway check`, a key of the file, or a reason for a drop.

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use clap::Command;
use gateway_ebpf::reason::Reason;

use crate::{
    config::{
        Code, Severity,
        keys::{self, Key, Table},
        reference,
    },
    near::nearest,
};

/// Columns of a text.
const WIDTH: usize = 80;

const EXAMPLES: &str = "\
Examples:
  gateway help instance
      a command
  gateway help C018
      what a fault means that `gateway check` has found, with an example, wrong and mended
  gateway help balancer.drain
      a key of the file
  gateway help no-service
      a reason of `gateway drops`";

/// What `gateway help` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A command (`dns check`), a code (C018), a key of the file (balancer.drain) or a reason (no-service)
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// Shows what there is to say of a word.
///
/// # Errors
/// Nothing is known by that name.
pub fn run(args: &Args, mut command: Command) -> anyhow::Result<()> {
    command.build();
    let words: Vec<_> = args.words.iter().map(String::as_str).collect();
    if let Some(found) = subcommand(&mut command, &words) {
        return found.print_long_help().context("cannot write the help");
    }
    let text = match words[..] {
        [word] => code(word).or_else(|| reason(word)).or_else(|| entries(word)),
        _ => None,
    };
    let Some(text) = text else {
        let word = words.join(" ");
        match nearest(&word, known(&command)) {
            Some(near) => bail!("there is no help for `{word}`; did you mean `gateway help {near}`?"),
            None => bail!("there is no help for `{word}`; `gateway help` lists all commands"),
        }
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write the help")
}

/// Follows the words down; none at all are the program itself.
fn subcommand<'c>(command: &'c mut Command, words: &[&str]) -> Option<&'c mut Command> {
    match words {
        [] => Some(command),
        [first, rest @ ..] => subcommand(command.find_subcommand_mut(first)?, rest),
    }
}

/// Everything that may be asked for by one word.
fn known(command: &Command) -> Vec<&str> {
    let commands = command.get_subcommands().filter(|one| !one.is_hide_set()).map(Command::get_name);
    let keys = keys::TABLES.iter().flat_map(|table| table.keys).map(|key| key.name);
    commands
        .chain(keys::TABLES.iter().map(|table| table.name))
        .chain(keys)
        .chain(Reason::ALL.iter().map(|r| r.name()))
        .collect()
}

fn code(word: &str) -> Option<String> {
    let code = Code::parse(word)?;
    let (kind, effect) = match code.severity() {
        Severity::Fault => ("fault", "the file is refused"),
        Severity::Warning => ("warning", "the file is taken"),
    };
    let mut text = format!("{code}: {} ({kind}: {effect})\n\n", code.title());
    text += &paragraph(code.remedy());
    if let Some(example) = code.example() {
        text += if example.is_commands() { "\nTo find out:\n\n" } else { "\nWrong (-) and mended (+):\n\n" };
        example.lines().for_each(|line| text += &format!("    {line}\n"));
    }
    Some(text)
}

fn reason(word: &str) -> Option<String> {
    let reason = Reason::ALL.iter().find(|reason| reason.name() == word)?;
    let text = format!("{}: {}.", reason.name(), reason.meaning());
    Some(paragraph(&text) + "\n" + &paragraph(reason.remedy()))
}

/// A table, or every key of that name: `balancer`, `balancer.drain`, `drain`.
fn entries(word: &str) -> Option<String> {
    if let Some(table) = keys::TABLES.iter().find(|table| table.name == word) {
        let keys: String = table.keys.iter().map(|key| entry(table, key)).collect();
        return Some(format!("{}\n{}\n{keys}", table.heading, paragraph(table.meaning)));
    }
    let (home, name) = word.rsplit_once('.').map_or((None, word), |(home, name)| (Some(home), name));
    let of = |table: &Table| {
        table.key(name).filter(|_| home.is_none_or(|home| home == table.name)).map(|key| entry(table, key))
    };
    let found: Vec<_> = keys::TABLES.iter().filter_map(of).collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

fn entry(table: &Table, key: &Key) -> String {
    let mut text = format!("{} {} = {}\n", table.heading, key.name, key.example);
    text += &paragraph(key.meaning);
    text += &format!(
        "  takes    {}\n  default  {}\n",
        plain(&reference::takes(key.kind)),
        plain(&reference::default(key))
    );
    text
}

/// Markdown's links and code marks are for the documents.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn paragraph(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH => {
                lines.push(word.to_owned());
            }
            Some(line) if line.is_empty() => *line = word.to_owned(),
            Some(line) => *line += &format!(" {word}"),
            None => {}
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reason_and_key_has_a_text_that_fits() {
        let examples = |text: &str| {
            text.lines().filter(|line| !line.starts_with("    ")).map(str::to_owned).collect::<Vec<_>>()
        };
        for known in Code::ALL {
            let text = code(&known.to_string()).unwrap();
            assert!(text.starts_with(&format!("{known}: {}", known.title())), "{text}");
            assert!(text.contains("\n    "), "{known} has no example:\n{text}");
            assert!(examples(&text).iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
        for known in Reason::ALL {
            assert!(reason(known.name()).unwrap().contains(known.name()));
        }
        for table in keys::TABLES {
            for key in table.keys {
                let text = entries(&format!("{}.{}", table.name, key.name)).unwrap();
                assert!(text.starts_with('[') && text.contains("takes"), "{text}");
            }
        }
    }

    #[test]
    fn a_code_is_shown_wrong_and_mended() {
        let text = code("c19").unwrap();
        assert!(text.contains("\n    - dip = [\"10.0.0.11\"]\n    + dip = [\"10.0.0.12\"]\n"), "{text}");
        assert!(code("C044").unwrap().contains("\n    $ date\n"));
    }

    #[test]
    fn a_key_is_found_by_its_table_or_alone() {
        let text = entries("balancer.drain").unwrap();
        assert!(text.starts_with("[balancer] drain = "), "{text}");
        assert!(entries("timeout").unwrap().matches("takes ").count() > 1, "several tables have one");
        assert!(entries("balancer").unwrap().contains("[balancer] interface = "));
        assert_eq!(entries("balancer.colour"), None);
    }
}
