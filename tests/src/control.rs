//! The operator at the balancer: the program's verbs, run on a host of the lab.

use std::{path::Path, process::Command};

use anyhow::Context;
use serde_json::Value;

use crate::{gateway::binary, host::Host, process::Output};

/// Runs `gateway …` on a host, with the words of `line` and the file that names the balancer.
///
/// # Errors
/// There is no binary.
pub fn gateway(host: &Host, line: &str, config: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(line.split_whitespace()).arg("--config").arg(config);
    host.run_command(command)
}

/// The same with `--json`, and what it printed.
///
/// # Errors
/// It printed no JSON.
pub fn json(host: &Host, line: &str, config: &Path) -> anyhow::Result<Value> {
    let output = gateway(host, &format!("{line} --json"), config)?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("`gateway {line}`: {output:?}"))
}
