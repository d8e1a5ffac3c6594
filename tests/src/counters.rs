//! What the balancer counted, as it reports it to programs.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use anyhow::Context;
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::{gateway::Gateway, wait};

/// The balancer answers between two events, at once as a rule.
const ANSWER: Duration = Duration::from_secs(10);

/// The parts of its report that tests and people ask for.
#[derive(Debug, Clone, Deserialize)]
pub struct Counters {
    /// What was dropped, by whom it was for and why; only what occurred.
    pub drops: Vec<Dropped>,
}

/// One line of [`Counters::drops`].
#[derive(Debug, Clone, Deserialize)]
pub struct Dropped {
    /// `203.0.113.5`, or `10.0.0.5:443` where it concerns a service.
    pub name: String,
    /// A word: `no-service`.
    pub reason: String,
    /// How many packets.
    pub packets: u64,
    /// The reason in a sentence.
    pub meaning: String,
}

/// Has the balancer write its report to `file`, and reads it.
pub(crate) fn ask(balancer: &mut Gateway, file: &Path) -> anyhow::Result<Counters> {
    // Only a file that comes after the signal is an answer to it. It comes whole, by a rename.
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).context("an old report stays");
        }
        _ => {}
    }
    balancer.signal(Signal::SIGUSR1)?;
    let report = wait::until(ANSWER, || fs::read(file).ok());
    let report = report.with_context(|| format!("no counters came:\n{}", balancer.log()))?;
    serde_json::from_slice(&report).context("the counters are no JSON as it was agreed")
}
