//! What it costs to probe many instances.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lab::{bench::Table, gateway::gateway, lab::Lab, wait};

use crate::{Effort, fleet};

const INSTANCES: u16 = 500;
/// The lab's file has the default.
const PORT: u16 = 8080;
/// Threads that answer.
const SERVERS: usize = 4;
/// For all instances to be up.
const UP: Duration = Duration::from_secs(120);
/// Of an answer.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let lab = fleet::lab(INSTANCES)?;
    let host = lab.hosts.instances.first().context("a lab with one instance")?;
    let listener = host.enter(|| TcpListener::bind(("0.0.0.0", PORT)))?;
    for _ in 0..SERVERS {
        let listener = listener.try_clone()?;
        // They end with the process.
        thread::spawn(move || listener.incoming().flatten().for_each(answer));
    }
    let balancer = fleet::balancer(&lab, &fleet::config(&lab, INSTANCES, "auto"))?;
    let all_up = wait::eventually(UP, || probed(&lab).is_ok_and(|(up, _)| up == usize::from(INSTANCES)));
    ensure!(all_up, "not all instances came up:\n{}", balancer.log());
    let (cpu, (_, before), begin) = (cpu_seconds(balancer.id())?, probed(&lab)?, Instant::now());
    thread::sleep(Duration::from_secs(effort.seconds));
    let (cpu, (up, after)) = (cpu_seconds(balancer.id())? - cpu, probed(&lab)?);
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(up == usize::from(INSTANCES), "{up} of {INSTANCES} instances are up");
    let rate = (after - before) as f64 / seconds;
    let columns = [("cpu", "% of a core", 2), ("rate", "probes/s", 0), ("each", "µs of CPU a probe", 0)];
    let mut table = Table::new("probes", "the whole daemon, probing by HTTP every 2 s", &columns);
    let share = cpu / seconds;
    table.add(
        &format!("{INSTANCES} instances"),
        [("cpu", share * 100.0), ("rate", rate), ("each", share / rate * 1e6)],
    );
    Ok(table)
}

/// Any request is fine.
fn answer(mut client: TcpStream) {
    let mut request = [0; 2048];
    let heard = client.set_read_timeout(Some(PATIENCE)).and_then(|()| client.read(&mut request));
    if heard.is_ok() {
        // Where the prober is gone, nobody misses the answer.
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

/// How many instances are up, and how many probes have succeeded.
fn probed(lab: &Lab) -> anyhow::Result<(usize, u64)> {
    let mut status = gateway("status")?;
    status.arg("--json").arg("--config").arg(lab.folder().join("gateway.toml"));
    let output = lab.hosts.balancer.run_command(status)?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("a status that cannot be read: {output:?}"))?;
    let healths = status["instances"].as_array().into_iter().flatten().map(|one| &one["health"]);
    let up = healths.clone().filter(|health| health["state"] == "up").count();
    Ok((up, healths.filter_map(|health| health["succeeded"].as_u64()).sum()))
}

/// In user space and kernel, of all threads (proc_pid_stat(5)): in ticks, of which every Linux shows a hundred a second.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may have spaces.
    let (_, fields) = text.rsplit_once(')').context("a process without a name")?;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}
