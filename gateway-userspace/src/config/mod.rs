//! From `gateway.toml` to [`crate::model::Model`]: text → [`file::File`] (each key by itself) → `Model` (how keys go
//! together). All faults are found at once; only [`read`], [`load`] and `gateway check` do I/O.

mod code;
mod fault;
mod file;
mod keys;
mod read;
mod resolve;
mod value;

pub mod check;

pub use code::{Code, Severity};
pub use fault::{Fault, Faults, Rendering, Report};

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use fault::{Problem, Source};
use toml::de::DeTable;

use crate::model::Model;
use resolve::Resolved;

/// Reads and checks a file; warnings go to the log.
///
/// # Errors
/// All faults at once.
pub fn load(path: &Path) -> Result<Model, Faults> {
    let (resolved, report) = read(path)?;
    match resolved.model {
        Some(model) => {
            for warning in report.of(Severity::Warning) {
                log::warn!("{}", report.line(warning));
            }
            Ok(model)
        }
        None => Err(Faults { report, rendering: rendering() }),
    }
}

/// Reads and checks a file; what was found is in the report.
///
/// # Errors
/// The file itself cannot be read.
fn read(path: &Path) -> Result<(Resolved, Report), Faults> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let refused = |text, fault| {
        let report = Report::new(Source { path: path.to_owned(), text }, vec![fault]);
        Faults { report, rendering: rendering() }
    };
    let bytes = std::fs::read(path).map_err(|error| {
        let problem = Problem::new(Code::Unreadable, format!("{} cannot be read: {error}", path.display()))
            .help("name the file with `--config FILE`");
        refused(String::new(), problem.without_place())
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let problem = Problem::new(Code::Unreadable, "the file is not UTF-8")
            .label("expected UTF-8")
            .help("save it as UTF-8 in your editor");
        refused(String::from_utf8_lossy(error.as_bytes()).into_owned(), problem.at(at..at + 1))
    })?;
    let (resolved, faults) = examine(&text, folder);
    Ok((resolved, Report::new(Source { path: path.to_owned(), text }, faults)))
}

/// Checks a file's text. Relative paths in it are taken from `folder`. Pure.
fn examine(text: &str, folder: &Path) -> (Resolved, Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = errors.iter().map(|error| syntax(error, text.len())).collect();
    if !faults.is_empty() {
        // What the parser made up to go on would only be blamed for things that nobody wrote.
        return (Resolved { model: None, certificates: Vec::new() }, faults);
    }
    let file = file::File::read(read::Reader::root(&document, text.len(), &mut faults));
    let resolved = resolve::resolve(&file, folder, &mut faults);
    (resolved, faults)
}

fn syntax(error: &toml::de::Error, end: usize) -> Fault {
    let (what, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let problem = Problem::new(Code::Syntax, format!("not valid TOML: {what}"));
    let problem = if expected.is_empty() { problem } else { problem.label(format!("expected {expected}")) };
    problem.at(error.span().unwrap_or(end..end))
}

/// Colour is for terminals, and for those who did not decline it (no-color.org).
fn rendering() -> Rendering {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stderr().is_terminal() && !declined { Rendering::Styled } else { Rendering::Plain }
}
