//! What it costs that flows of an instance leave with a public VIP, beside nftables masquerade, in the same rounds and on one core.
//!
//! `cargo xtask bench snat [--quick] [--json]`
#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

mod connections;
#[path = "../forwarding/core.rs"]
mod core;
mod datagrams;
mod far;
mod pair;
#[path = "../forwarding/traffic.rs"]
#[expect(dead_code, reason = "forwarding measures throughput too")]
mod traffic;
mod way;

use lab::bench::Run;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// All cases take their turn in each.
    rounds: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (effort, command) = match has("--quick") {
        true => (Effort { rounds: 5 }, "cargo xtask bench snat --quick"),
        false => (Effort { rounds: 15 }, "cargo xtask bench snat"),
    };
    let tables = vec![datagrams::measure(effort)?, connections::measure(effort)?];
    Run::new(command, tables)?.publish("snat", has("--json"))
}
