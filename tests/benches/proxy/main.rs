//! What the proxy costs beside nginx and HAProxy, in the same rounds: the same upstream and certificate, each of them on one
//! core, the load and the upstream on another.
//!
//! `cargo xtask bench proxy [--quick] [--json]`

mod client;
mod cost;
mod load;
mod rounds;
mod servers;
mod stage;

use lab::bench::Run;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// All servers take their turn in each.
    rounds: usize,
    /// Of one measurement, in seconds.
    seconds: u32,
    /// Connections that are kept idle: what a process may have open without privileges is enough for them.
    idle: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (effort, command) = match has("--quick") {
        true => (Effort { rounds: 3, seconds: 1, idle: 2_000 }, "cargo xtask bench proxy --quick"),
        // Many short turns: a machine drifts by more within a minute than servers differ.
        false => (Effort { rounds: 11, seconds: 2, idle: 4_000 }, "cargo xtask bench proxy"),
    };
    let tables = rounds::measure(effort)?;
    Run::new(command, tables)?.publish("proxy", has("--json"))
}
