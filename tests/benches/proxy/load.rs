//! Requests by wrk and h2load, on the other core.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use lab::{bench::percentile, host, process::Output};

use crate::{
    servers::PASSED,
    stage::{Stage, name, other_core},
};

/// More than any load runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Plain,
    Tls,
    Http2,
    /// TLS that ends at the upstream, and HTTP/1.1 in it.
    Passed,
}

/// Requests one after the other on each of these connections, as fast as they are answered. Has their number and the time.
pub(crate) fn closed(
    stage: &Stage,
    protocol: Protocol,
    at: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u32,
) -> anyhow::Result<(u64, Duration)> {
    let output = match protocol {
        Protocol::Plain | Protocol::Tls | Protocol::Passed => {
            let scheme = if protocol == Protocol::Plain { "http" } else { "https" };
            let name = if protocol == Protocol::Passed { PASSED.to_owned() } else { name() };
            // wrk takes SNI from the address, so the name has to lead there.
            let url = format!("{scheme}://{name}:{}{path}", at.port());
            wrk(stage, at, &name, &format!("wrk -t1 -c{connections} -d{seconds}s {url}"))?
        }
        Protocol::Http2 => h2load(stage, "https", at, path, &format!("-t1 -c{connections} -m8 -D{seconds}"))?,
    };
    requests(protocol, &output).with_context(|| output.text())
}

/// Plain HTTP/1.1 at a rate: the time of each request in microseconds. Not over TLS: h2load counts each connection's time from where
/// it stands, so that servers with fast handshakes would get the requests of all connections at once, and slow ones spread out.
pub(crate) fn open(
    stage: &Stage,
    at: SocketAddr,
    rate: u64,
    connections: u64,
    seconds: u32,
) -> anyhow::Result<Percentiles> {
    let log = stage.path("requests.log");
    // It appends.
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let each = (rate / connections).max(1);
    let line = format!("--h1 -t1 -c{connections} -m1 --rps={each} -D{seconds} --log-file={}", log.display());
    h2load(stage, "http", at, "/small", &line)?;
    Percentiles::read(&log)
}

/// Of times, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Percentiles {
    /// h2load's log: begin, status, duration, all with tabs between them.
    fn read(log: &PathBuf) -> anyhow::Result<Self> {
        let text = fs::read_to_string(log).context("h2load left no log")?;
        let times = text.lines().filter_map(|line| line.split('\t').nth(2)?.parse::<f64>().ok());
        let times: Vec<f64> = times.collect();
        ensure!(times.len() > 100, "only {} requests", times.len());
        let thousandth = |n: usize| {
            let mut sorted = times.clone();
            sorted.sort_by(f64::total_cmp);
            sorted[(sorted.len() * n).div_ceil(1000).saturating_sub(1)]
        };
        Ok(Self { p50: percentile(&times, 50), p99: percentile(&times, 99), p999: thousandth(999) })
    }
}

fn wrk(stage: &Stage, at: SocketAddr, name: &str, line: &str) -> anyhow::Result<Output> {
    // The name leads to the server under test for this process alone.
    let hosts = stage.path("hosts");
    fs::write(&hosts, format!("{} {name}\n", at.ip()))?;
    let line = format!(
        "unshare --mount sh -c \"mount --bind {} /etc/hosts && exec taskset --cpu-list {} {line}\"",
        hosts.display(),
        other_core()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]);
    finished(stage.host.spawn(command)?.wait(PATIENCE)?)
}

fn h2load(stage: &Stage, scheme: &str, at: SocketAddr, path: &str, options: &str) -> anyhow::Result<Output> {
    let (name, core) = (name(), other_core());
    let port = at.port();
    let line = format!(
        "taskset --cpu-list {core} h2load {options} --connect-to={at} {scheme}://{name}:{port}{path}"
    );
    finished(stage.host.spawn(host::command(&line))?.wait(PATIENCE)?)
}

fn finished(output: Output) -> anyhow::Result<Output> {
    ensure!(output.ok(), "{}: {}{}", output.status, output.text(), output.stderr);
    Ok(output)
}

/// wrk: `30000 requests in 3.00s, …`, `Non-2xx or 3xx responses: 5`. h2load: `finished in 3.00s, …`, `requests: 30000 total, … 30000
/// succeeded, 0 failed …`.
fn requests(protocol: Protocol, output: &Output) -> anyhow::Result<(u64, Duration)> {
    let text = output.text();
    let line = |mark: &str| text.lines().find(|line| line.contains(mark)).map(str::trim);
    let word = |line: &str, n: usize| line.split_whitespace().nth(n).map(str::to_owned);
    ensure!(line("Non-2xx").is_none() && line("Socket errors").is_none(), "not all were answered well");
    let (count, time) = match protocol {
        Protocol::Plain | Protocol::Tls | Protocol::Passed => {
            let line = line(" requests in ").context("what wrk says has no requests")?;
            (word(line, 0), word(line, 3))
        }
        Protocol::Http2 => {
            let requests = line("requests: ").context("what h2load says has no requests")?;
            ensure!(requests.contains(" 0 failed, 0 errored"), "not all were answered well");
            let finished = line("finished in ").context("what h2load says has no time")?;
            (word(requests, 7), word(finished, 2))
        }
    };
    let time = time.context("no time")?;
    let time = time.trim_end_matches(',');
    Ok((count.context("no count")?.parse()?, humantime_of(time)?))
}

/// `3.00s`, `512.33ms`
fn humantime_of(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.trim_end_matches('s'), 1.0),
    };
    Ok(Duration::from_secs_f64(number.parse::<f64>()? * unit))
}
