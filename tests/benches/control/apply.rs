//! From a file's change to the kernel's tables having the last bucket of it.

use std::time::Instant;

use anyhow::{Context, ensure};
use lab::{bench::Table, gateway::gateway};

use crate::{Effort, fleet, spread};

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let columns = [("median", "median ms", 1), ("least", "least", 1), ("most", "most", 1)];
    let title = "a file is taken up: in the balancer, and as `gateway apply` takes";
    let mut table = Table::new("apply", title, &columns);
    for count in [10, 100, 1000] {
        let (within, whole) = changes(count, effort)?;
        table.add(&format!("{count} instances: from reading to the last bucket"), spread(within));
        table.add(&format!("{count} instances: the whole command"), spread(whole));
    }
    Ok(table)
}

/// An instance goes, and comes back: seconds by the balancer's own clock, from before it reads the file until no packet goes by the
/// tables of before; and from before the file is written until `gateway apply`, which reads it too, has ended.
fn changes(count: u16, effort: Effort) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let lab = fleet::lab(count)?;
    let all = fleet::config(&lab, count, "up");
    let mut rest = all.clone();
    rest.instance.remove(usize::from(count / 2));
    let mut balancer = fleet::balancer(&lab, &all)?;
    let (mut within, mut whole) = (Vec::new(), Vec::new());
    for config in [&rest, &all].into_iter().cycle().take(effort.rounds) {
        // As a service manager reads what it is told.
        while balancer.told()?.is_some() {}
        let begin = Instant::now();
        let mut apply = gateway("apply")?;
        apply.args(["--confirm", "--json"]).arg("--config").arg(lab.write(config)?);
        let output = lab.hosts.balancer.run_command(apply)?;
        let took = begin.elapsed();
        ensure!(output.ok(), "{output:?}\n{}", balancer.log());
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let microseconds = said["microseconds"].as_f64().context("an answer without its time")?;
        within.push(microseconds / 1e6);
        whole.push(took.as_secs_f64());
    }
    Ok((within, whole))
}
