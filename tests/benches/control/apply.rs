//! From a file's change to the kernel's tables having the last bucket of it.

use std::time::Instant;

use anyhow::ensure;
use lab::{bench::Table, gateway::gateway};

use crate::{Effort, fleet, spread};

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let columns = [("median", "median ms", 1), ("least", "least", 1), ("most", "most", 1)];
    let title = "from the file's change to the last bucket written, by `gateway apply`";
    let mut table = Table::new("apply", title, &columns);
    for count in [10, 100, 1000] {
        table.add(&format!("{count} instances"), spread(changes(count, effort)?));
    }
    Ok(table)
}

/// An instance goes, and comes back. The clock runs from before the file is written until `gateway apply` has returned, which it
/// does after the last write to the kernel: what it takes to start a process and to ask is in it.
fn changes(count: u16, effort: Effort) -> anyhow::Result<Vec<f64>> {
    let lab = fleet::lab(count)?;
    let all = fleet::config(&lab, count, "up");
    let mut rest = all.clone();
    rest.instance.remove(usize::from(count / 2));
    let balancer = fleet::balancer(&lab, &all)?;
    let mut seconds = Vec::new();
    for config in [&rest, &all].into_iter().cycle().take(effort.rounds) {
        let begin = Instant::now();
        let mut apply = gateway("apply")?;
        apply.arg("--confirm").arg("--config").arg(lab.write(config)?);
        let output = lab.hosts.balancer.run_command(apply)?;
        let took = begin.elapsed();
        ensure!(output.ok(), "{output:?}\n{}", balancer.log());
        seconds.push(took.as_secs_f64());
    }
    Ok(seconds)
}
