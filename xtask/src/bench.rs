//! `cargo xtask bench`

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{build, exec, setup};

mod chart;
mod report;

/// What `cargo xtask bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is measured
    #[arg(value_enum)]
    what: What,
    /// Fewer rounds: noisier, and a fraction of the time
    #[arg(long)]
    quick: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Nanoseconds a packet in the kernel program, above an empty program in the same rounds
    Packets,
    /// Live frames and real connections through gateway, a bare XDP program, nftables and HAProxy
    Forwarding,
    /// Time to take up a file with up to 1,000 instances, to build rings, and CPU of probing 500
    Control,
    /// The proxy beside nginx and HAProxy: processor time, latency, memory
    Proxy,
    /// Flows that an instance begins, by gateway's source NAT and by nftables masquerade
    Snat,
    /// `gateway dns serve` beside BIND, dnsmasq and Unbound: processor time an answer
    Dns,
    /// Measures nothing: writes docs/performance.md and its plots from the last results of both
    Report,
}

/// Measures.
///
/// # Errors
/// Not root; what could not be set up, built or run.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (target, needs): (_, &[setup::Client]) = match args.what {
        What::Packets => ("packets", &[]),
        What::Forwarding => ("forwarding", setup::PEERS),
        What::Control => ("control", &[]),
        What::Proxy => ("proxy", setup::PROXIES),
        What::Snat => ("snat", setup::MASQUERADE),
        What::Dns => ("dns", setup::QUESTIONS),
        What::Report => return report::write(),
    };
    ensure!(
        nix::unistd::geteuid().is_root(),
        "a bench loads programs into the kernel, which root may: sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask bench"
    );
    setup::ensure_with(needs)?;
    let mut cargo = exec::cargo();
    if !matches!(args.what, What::Packets | What::Snat) {
        // The real program, as it is now; not an unoptimised one that was built last.
        cargo.env("GATEWAY_BIN", build::gateway()?);
    }
    cargo.args(["bench", "--package", "lab", "--bench", target, "--"]);
    cargo.args(args.quick.then_some("--quick")).args(args.json.then_some("--json"));
    exec::shown(&mut cargo)
}
