//! From `gateway.toml` to [`crate::model::Model`]: text → `File` (each key by itself) → `Model` (how keys go
//! together). All faults are found at once; only [`load`] and `gateway check` do I/O.

mod certificates;
mod certified;
mod code;
mod effective;
mod examples;
mod fault;
mod file;
mod findings;
mod read;
mod resolve;
mod summary;
mod value;

pub mod check;
pub mod keys;
pub mod reference;
pub mod show;

#[cfg(test)]
mod tests;

pub use certified::{CertificateFault, Certified, certified};
pub use code::{Code, Severity};
pub use effective::{Effective, schema as effective_schema};
pub use examples::Example;
pub use fault::{Fault, Faults, Rendering, Report};
pub use findings::{Finding, Findings, schema as findings_schema};

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
    let (resolved, report) = read(path);
    let Some(model) = resolved.model else { return Err(Faults { report, rendering: rendering() }) };
    for warning in report.of(Severity::Warning) {
        log::warn!("{}", report.line(warning));
    }
    Ok(model)
}

/// Checks a text, which is called `path` for people. Relative paths in it are taken from `folder`. Pure.
///
/// # Errors
/// All faults at once.
pub fn parse(text: String, path: &Path, folder: &Path) -> Result<Model, Faults> {
    let (resolved, faults) = examine(&text, folder);
    let report = Report::new(Source { path: path.to_owned(), text }, faults);
    resolved.model.ok_or(Faults { report, rendering: Rendering::Plain })
}

/// Reads and checks a file.
fn read(path: &Path) -> (Resolved, Report) {
    let refused = |text: String, fault| {
        let report = Report::new(Source { path: path.to_owned(), text }, vec![fault]);
        (Resolved::nothing(), report)
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem = Problem::new(Code::Unreadable, format!("the file cannot be read: {error}"))
                .help("name the file with `--config FILE`");
            return refused(String::new(), problem.without_place());
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let (resolved, faults) = examine(&text, folder);
            (resolved, Report::new(Source { path: path.to_owned(), text }, faults))
        }
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let problem = Problem::new(Code::Unreadable, "the file is not UTF-8")
                .label("not UTF-8 from here on")
                .help("save it as UTF-8");
            refused(String::from_utf8_lossy(error.as_bytes()).into_owned(), problem.at(at..at + 1))
        }
    }
}

/// Checks a file's text. Relative paths in it are taken from `folder`. Pure.
fn examine(text: &str, folder: &Path) -> (Resolved, Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = errors.iter().map(|error| syntax(error, text.len())).collect();
    if !faults.is_empty() {
        // What the parser made up to go on would only be blamed for things that nobody wrote.
        return (Resolved::nothing(), faults);
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
