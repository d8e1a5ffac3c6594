//! How fast the control plane is: building rings, taking up a file, probing. `cargo xtask bench control [--quick] [--json]`

mod apply;
mod fleet;
mod probes;
mod rings;

use lab::bench::Run;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Of everything that is repeated.
    rounds: usize,
    /// How long probing is watched, in seconds.
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let effort =
        if has("--quick") { Effort { rounds: 5, seconds: 10 } } else { Effort { rounds: 25, seconds: 60 } };
    let tables = vec![rings::measure(effort), apply::measure(effort)?, probes::measure(effort)?];
    let command =
        if has("--quick") { "cargo xtask bench control --quick" } else { "cargo xtask bench control" };
    Run::new(command, tables)?.publish("control", has("--json"))
}

/// The least, the middle and the largest, in milliseconds.
fn spread(mut seconds: Vec<f64>) -> [(&'static str, f64); 3] {
    seconds.sort_by(f64::total_cmp);
    let at = |place: usize| seconds.get(place).copied().unwrap_or(f64::NAN) * 1e3;
    [("median", at(seconds.len() / 2)), ("least", at(0)), ("most", at(seconds.len().saturating_sub(1)))]
}
