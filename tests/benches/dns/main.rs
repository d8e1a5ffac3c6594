//! What an answer costs `gateway dns serve`, beside BIND, dnsmasq and Unbound with the records that gateway prints for them, in the same
//! rounds: each on one core, the questions from another.
//!
//! `cargo xtask bench dns [--quick] [--json]`

#[path = "../proxy/cost.rs"]
#[expect(dead_code, reason = "memory is the proxy's")]
mod cost;
mod questions;
mod servers;

use lab::bench::{Run, Table, median};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// All servers take their turn in each.
    rounds: usize,
    /// Of one measurement.
    seconds: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (effort, command) = match has("--quick") {
        true => (Effort { rounds: 3, seconds: 1 }, "cargo xtask bench dns --quick"),
        false => (Effort { rounds: 9, seconds: 3 }, "cargo xtask bench dns"),
    };
    Run::new(command, vec![measure(effort)?])?.publish("dns", has("--json"))
}

fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = servers::Stage::raise()?;
    let servers = stage.servers()?;
    let mut figures = vec![(Vec::new(), Vec::new()); servers.len()];
    for round in 0..effort.rounds {
        for (server, (cost, rate)) in servers.iter().zip(&mut figures) {
            let before = cost::cpu(server.id())?;
            let answered = questions::ask(server, &stage.questions, effort.seconds)
                .map_err(|error| error.context(server.name))?;
            let used = cost::cpu(server.id())? - before;
            cost.push(used.as_secs_f64() * 1e6 / answered.queries);
            rate.push(answered.queries / used.as_secs_f64());
        }
        eprint!("\rquestions: round {} of {}", round + 1, effort.rounds);
    }
    eprintln!();
    let columns = [("us", "µs of processor time an answer", 1), ("rate", "answers/s a core", 0)];
    let mut table = Table::new("answers", "DNS over UDP: A, AAAA and HTTPS of every name", &columns);
    for (server, (cost, rate)) in servers.iter().zip(&figures) {
        table.add(server.name, [("us", median(cost)), ("rate", median(rate))]);
    }
    Ok(table)
}
