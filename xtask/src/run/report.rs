//! What happened, line by line as it happens, and whether all of it was as expected.

use anyhow::{Result, bail};

/// A report under way. It is plain text in columns, the same on a terminal, in a file and in a CI's log.
#[derive(Debug, Default)]
pub(super) struct Report {
    checked: usize,
    unexpected: Vec<String>,
}

impl Report {
    /// Begins a part.
    pub(super) fn heading(&mut self, text: &str) {
        println!("\n{text}");
    }

    /// Something to know, which cannot be wrong.
    pub(super) fn fact(&mut self, name: &str, value: &str) {
        println!("  {name:<12} {value}");
    }

    /// Something that happened, and whether it should have.
    pub(super) fn outcome(&mut self, what: &str, happened: &str, expected: Result<(), String>) {
        self.checked += 1;
        match expected {
            Ok(()) => println!("  {what:<36} {happened:<60} ok"),
            Err(why) => {
                println!("  {what:<36} {happened:<60} NOT AS EXPECTED: {why}");
                self.unexpected.push(format!("{what}: {happened} ({why})"));
            }
        }
    }

    /// Something that could not be looked at.
    pub(super) fn impossible(&mut self, error: &anyhow::Error) {
        self.checked += 1;
        println!("  NOT AS EXPECTED: {error:#}");
        self.unexpected.push(format!("{error:#}"));
    }

    /// The end.
    ///
    /// # Errors
    /// What was not as expected.
    pub(super) fn conclude(self) -> Result<()> {
        if self.unexpected.is_empty() {
            println!("\nAll {} outcomes are as expected.", self.checked);
            return Ok(());
        }
        let count = self.unexpected.len();
        bail!("{count} of {} outcomes are not as expected:\n  {}", self.checked, self.unexpected.join("\n  "))
    }
}

/// An expectation: `why` where it is not so.
pub(super) fn expect(is_so: bool, why: impl Into<String>) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(why.into()) }
}
