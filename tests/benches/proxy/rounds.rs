//! What is measured, in rounds in which all servers take their turn.

use std::time::Duration;

use anyhow::Context as _;
use lab::bench::{Table, median};

use crate::{
    Effort,
    client::{self, Handshake, Kept},
    cost,
    load::{self, Protocol},
    servers::Server,
    stage::{LARGE, Stage},
};

/// Connections with requests on them.
const CONNECTIONS: usize = 32;

/// One value a round, for each server.
type Values = Vec<Vec<f64>>;

struct Bench {
    stage: Stage,
    servers: Vec<Server>,
    effort: Effort,
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let stage = Stage::raise()?;
    let servers = Server::all(&stage)?;
    let mut bench = Bench { stage, servers, effort };
    Ok(vec![bench.requests()?, bench.connections()?, bench.latency()?, bench.logging()?])
}

impl Bench {
    /// Runs `one` for each server in each round; servers that cannot do it have no values.
    fn rounds(
        &self,
        what: &str,
        mut one: impl FnMut(&Stage, &Server) -> anyhow::Result<Option<f64>>,
    ) -> anyhow::Result<Values> {
        let mut values: Values = self.servers.iter().map(|_| Vec::new()).collect();
        for round in 0..self.effort.rounds {
            for (server, values) in self.servers.iter().zip(&mut values) {
                let value = one(&self.stage, server)
                    .map_err(|error| error.context(format!("{}, {what}", server.name)))?;
                values.extend(value);
            }
            eprint!("\r{what}: round {} of {}   ", round + 1, self.effort.rounds);
        }
        eprintln!();
        Ok(values)
    }

    /// Microseconds of processor time a request, as many at once as there are connections.
    fn cost_of(&self, protocol: Protocol) -> anyhow::Result<Values> {
        let seconds = self.effort.seconds;
        self.rounds(&format!("{protocol:?}"), |stage, server| {
            let Some(at) = address(server, protocol) else { return Ok(None) };
            let before = cost::cpu(server.id())?;
            let (requests, _) = load::closed(stage, protocol, at, "/small", CONNECTIONS, seconds)?;
            let used = cost::cpu(server.id())? - before;
            Ok(Some(used.as_secs_f64() * 1e6 / requests as f64))
        })
    }

    fn requests(&self) -> anyhow::Result<Table> {
        let mut table = Table::new(
            "requests",
            "1 KiB answers on kept connections, processor time of the proxy",
            &[
                ("plain_us", "plain HTTP/1.1, µs", 1),
                ("tls_us", "TLS, HTTP/1.1, µs", 1),
                ("h2_us", "TLS, HTTP/2, µs", 1),
                ("download_ms", "1 GB in 1 MB answers over TLS, ms", 0),
                ("passed_ms", "the same passed through, ms", 0),
            ],
        )
        .plotting("tls_us");
        let columns = [
            ("plain_us", self.cost_of(Protocol::Plain)?),
            ("tls_us", self.cost_of(Protocol::Tls)?),
            ("h2_us", self.cost_of(Protocol::Http2)?),
            ("download_ms", self.downloads(Protocol::Tls)?),
            ("passed_ms", self.downloads(Protocol::Passed)?),
        ];
        self.fill(&mut table, columns);
        Ok(table)
    }

    /// Milliseconds of processor time for a gigabyte.
    fn downloads(&self, protocol: Protocol) -> anyhow::Result<Values> {
        let seconds = self.effort.seconds;
        self.rounds(&format!("downloads, {protocol:?}"), |stage, server| {
            let Some(at) = address(server, protocol) else { return Ok(None) };
            let before = cost::cpu(server.id())?;
            let (answers, _) = load::closed(stage, protocol, at, "/large", 8, seconds)?;
            let used = cost::cpu(server.id())? - before;
            Ok(Some(used.as_secs_f64() * 1e3 * 1e9 / (answers * LARGE) as f64))
        })
    }

    /// What an access log costs, in turns with none.
    fn logging(&mut self) -> anyhow::Result<Table> {
        let columns = [("tls_us", "TLS, HTTP/1.1, µs", 1)];
        let mut table =
            Table::new("logging", "gateway with and without an access log, processor time", &columns);
        let server = self.servers.last_mut().context("no servers")?;
        let log = self.stage.path("access.log");
        let mut values: Values = vec![Vec::new(); 2];
        for round in 0..self.effort.rounds {
            for (log, values) in [None, Some(log.clone())].into_iter().zip(&mut values) {
                server.log_to(&self.stage, log)?;
                let before = cost::cpu(server.id())?;
                let seconds = self.effort.seconds;
                let (requests, _) =
                    load::closed(&self.stage, Protocol::Tls, server.tls, "/small", CONNECTIONS, seconds)?;
                let used = cost::cpu(server.id())? - before;
                values.push(used.as_secs_f64() * 1e6 / requests as f64);
            }
            eprint!("\raccess log: round {} of {}   ", round + 1, self.effort.rounds);
        }
        eprintln!();
        for (name, values) in ["without", "with"].into_iter().zip(&values) {
            table.add(name, [("tls_us", median(values))]);
        }
        Ok(table)
    }

    fn connections(&mut self) -> anyhow::Result<Table> {
        let mut table = Table::new(
            "connections",
            "New connections with one request each, and idle ones, processor time and memory of the proxy",
            &[
                ("full_us", "full handshake, µs", 0),
                ("full_s", "handshakes/s", 0),
                ("resumed_us", "resumed, µs", 0),
                ("resumed_s", "resumed/s", 0),
                ("idle_mib", "MiB for 10,000 idle", 0),
                ("idle_h2_mib", "HTTP/2, MiB for 10,000 idle", 0),
            ],
        )
        .plotting("full_us");
        let time = Duration::from_secs(self.effort.seconds.into());
        let rate = |kind| -> anyhow::Result<(Values, Values)> {
            let mut rates: Values = self.servers.iter().map(|_| Vec::new()).collect();
            let mut turn = 0;
            let costs = self.rounds(&format!("{kind:?} handshakes"), |stage, server| {
                let before = cost::cpu(server.id())?;
                let count = client::handshakes(stage, kind, server.tls, time)?;
                let used = cost::cpu(server.id())? - before;
                rates[turn % self.servers.len()].push(count as f64 / time.as_secs_f64());
                turn += 1;
                Ok(Some(used.as_secs_f64() * 1e6 / count as f64))
            })?;
            Ok((costs, rates))
        };
        let (full, full_rate) = rate(Handshake::Full)?;
        let (resumed, resumed_rate) = rate(Handshake::Resumed)?;
        let (idle, idle_http2) = (self.idle(Kept::Http1)?, self.idle(Kept::Http2)?);
        self.fill(
            &mut table,
            [
                ("full_us", full),
                ("full_s", full_rate),
                ("resumed_us", resumed),
                ("resumed_s", resumed_rate),
                ("idle_mib", idle),
                ("idle_h2_mib", idle_http2),
            ],
        );
        Ok(table)
    }

    /// Once, by servers that have just started: memory that was needed before is not given back.
    fn idle(&mut self, kept: Kept) -> anyhow::Result<Values> {
        self.servers.clear();
        self.servers = Server::all(&self.stage)?;
        let count = self.effort.idle;
        let one = |server: &Server| {
            let before = cost::memory(server.id())?;
            let with = client::idle(&self.stage, server.tls, kept, count, || cost::memory(server.id()))?;
            let each = with.saturating_sub(before) as f64 / count as f64;
            Ok(vec![each * 10_000.0 / f64::from(1 << 20)])
        };
        self.servers.iter().map(one).collect()
    }

    /// At half and nine tenths of what the slowest of them can do, the same for all.
    fn latency(&self) -> anyhow::Result<Table> {
        let seconds = self.effort.seconds;
        let most = self.rounds("most requests a second", |stage, server| {
            let Some(at) = server.plain else { return Ok(None) };
            let (requests, time) = load::closed(stage, Protocol::Plain, at, "/small", CONNECTIONS, seconds)?;
            Ok(Some(requests as f64 / time.as_secs_f64()))
        })?;
        let slowest = most.iter().map(|values| median(values)).fold(f64::INFINITY, f64::min);
        let mut table = Table::new(
            "latency",
            "Requests over plain HTTP/1.1: the most, and µs of one at half and at nine tenths of the slowest proxy's most",
            &[
                ("most", "requests/s", 0),
                ("half_p50", "half: p50", 0),
                ("half_p99", "p99", 0),
                ("half_p999", "p99.9", 0),
                ("high_p50", "nine tenths: p50", 0),
                ("high_p99", "p99", 0),
                ("high_p999", "p99.9", 0),
            ],
        );
        let mut columns = vec![("most", most)];
        for (share, names) in
            [(0.5, ["half_p50", "half_p99", "half_p999"]), (0.9, ["high_p50", "high_p99", "high_p999"])]
        {
            let rate = (slowest * share) as u64;
            let mut percentiles = Vec::new();
            self.rounds(&format!("{rate} requests a second"), |stage, server| {
                let Some(at) = server.plain else { return Ok(None) };
                percentiles.push(load::open(stage, at, rate, CONNECTIONS as u64, seconds)?);
                Ok(None)
            })?;
            let of = |value: fn(&load::Percentiles) -> f64| -> Values {
                let servers = self.servers.len();
                (0..servers)
                    .map(|n| percentiles.iter().skip(n).step_by(servers).map(value).collect())
                    .collect()
            };
            columns.push((names[0], of(|times| times.p50)));
            columns.push((names[1], of(|times| times.p99)));
            columns.push((names[2], of(|times| times.p999)));
        }
        self.fill(&mut table, columns);
        Ok(table)
    }

    /// The medians of the rounds.
    fn fill(&self, table: &mut Table, columns: impl IntoIterator<Item = (&'static str, Values)>) {
        let columns: Vec<_> = columns.into_iter().collect();
        for (n, server) in self.servers.iter().enumerate() {
            let values = columns.iter().filter(|(_, values)| !values[n].is_empty());
            table.add(server.name, values.map(|(key, values)| (*key, median(&values[n]))));
        }
    }
}

fn address(server: &Server, protocol: Protocol) -> Option<std::net::SocketAddr> {
    match protocol {
        Protocol::Plain => server.plain,
        Protocol::Tls | Protocol::Http2 => Some(server.tls),
        Protocol::Passed => server.pass,
    }
}
