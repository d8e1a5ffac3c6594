//! What forwarding costs as a whole: live frames over veth, and real connections, on one core; beside a bare XDP program,
//! nftables and HAProxy in the same run.
//!
//! `cargo xtask bench forwarding [--quick] [--json]`
#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

#[path = "../../tests/packets/builder.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod builder;
mod connections;
mod core;
mod flood;
mod generator;
mod lan;
mod live;
mod ours;
mod peers;
mod stage;
#[path = "../../tests/packets/targets.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod targets;
mod traffic;

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
    let effort = Effort { rounds: if has("--quick") { 3 } else { 9 } };
    let tables = vec![live::measure(effort)?, flood::measure(effort)?, connections::measure(effort)?];
    let command =
        if has("--quick") { "cargo xtask bench forwarding --quick" } else { "cargo xtask bench forwarding" };
    Run::new(command, tables)?.publish("forwarding", has("--json"))
}
