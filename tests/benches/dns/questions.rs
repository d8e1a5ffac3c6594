//! Questions, as fast as they are answered, by dnsperf.

use std::path::Path;

use anyhow::{Context as _, ensure};
use lab::host;

use crate::servers::{ADDRESS, Server};

/// On their way at once.
const OUTSTANDING: u32 = 100;

pub(crate) struct Answered {
    pub(crate) queries: f64,
}

/// All of them answered without an error, or it is no measurement.
pub(crate) fn ask(server: &Server, questions: &Path, seconds: u32) -> anyhow::Result<Answered> {
    let line = format!(
        "taskset --cpu-list 0 dnsperf -s {ADDRESS} -d {} -l {seconds} -c 8 -q {OUTSTANDING}",
        questions.display()
    );
    let output = server.host.run_command(host::command(&line))?;
    let text = output.text();
    let figure = |label: &str| {
        let rest = text.lines().find_map(|line| line.trim().strip_prefix(label));
        rest.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .with_context(|| format!("dnsperf says nothing of {label}\n{text}{}", output.stderr))
    };
    let (sent, queries) = (figure("Queries sent:")?, figure("Queries completed:")?);
    ensure!(queries >= sent * 0.999, "{queries} of {sent} were answered:\n{text}");
    let codes = text.lines().find(|line| line.contains("Response codes:")).unwrap_or_default();
    ensure!(codes.contains("NOERROR") && !codes.contains(','), "not all names were found: {codes}");
    Ok(Answered { queries })
}
