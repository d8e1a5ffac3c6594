//! Cargo tools of a fixed version, kept below `target/tools`.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, anyhow};

use crate::{console::Step, exec, workspace};

/// A tool to be built by `cargo install`.
#[derive(Debug)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    install: Command,
}

impl Tool {
    /// `options` go to `cargo install`.
    pub(crate) fn new(name: &'static str, version: &'static str, options: &[&str]) -> Self {
        let mut install = exec::cargo();
        install.args(["install", name, "--version", &format!("={version}"), "--locked", "--force"]);
        install.args(options).arg("--root").arg(workspace::tools());
        Self { name, version, install }
    }

    /// Sets a variable for its build.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.install.env(name, value);
        self
    }

    /// Whether it is there in this version, and starts.
    pub(crate) fn is_there(&self) -> bool {
        starts(self.name, self.version)
    }

    /// The command that builds it.
    pub(crate) fn command_line(&self) -> String {
        exec::line(&self.install)
    }

    /// Builds it.
    pub(crate) fn build(mut self) -> Result<()> {
        let step = Step::begin(format!("building {} {}", self.name, self.version));
        exec::watched(&mut self.install, &step, Duration::from_mins(30))
            .map_err(|failure| anyhow!(failure.report()))
            .with_context(|| {
                format!(
                    "building {} failed; next step: mend what it says and try\n    {}\n",
                    self.name,
                    self.command_line()
                )
            })?;
        step.done();
        Ok(())
    }
}

/// Whether a tool of that version is there and starts: a shared library that it needs may have gone.
pub(crate) fn starts(name: &str, version: &str) -> bool {
    let answer = exec::ask(Command::new(workspace::tool(name)).arg("--version"));
    answer.is_some_and(|text| text.split_whitespace().last() == Some(version))
}
