//! `cargo xtask run`: raises the lab, sends real requests through it and shows what happened; or runs the binary itself.

use std::{
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lab::{
    config::Config,
    lab::{Lab, Running},
};

use crate::{build, console::seconds, exec, workspace};

mod by_hand;
mod interrupt;
mod private;
mod public;
mod report;

use interrupt::Interrupt;
use report::Report;

/// Enough that a flow's way is a choice, few enough to read.
const INSTANCES: u8 = 3;

/// What `cargo xtask run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave when all is shown, with exit code 1 if anything was not as expected
    #[arg(long)]
    exit: bool,
    /// How packets reach the instances, as `balancer.forwarding` of the file
    #[arg(long, value_name = "MODE", value_parser = ["l2", "ipip", "gue", "nat"], default_value = "l2", conflicts_with = "gateway")]
    forwarding: String,
    /// Run the binary with these arguments on this very host instead, e.g. `balance --config gateway.toml`
    #[arg(last = true, conflicts_with = "exit")]
    gateway: Vec<String>,
}

/// The command.
///
/// # Errors
/// Something could not be built or raised, or was not as expected.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.gateway.is_empty() && !nix::unistd::geteuid().is_root() {
        bail!(
            "the lab needs root, for network namespaces and XDP; next step:\n    \
             sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask run"
        );
    }
    let gateway = build::gateway()?;
    if !args.gateway.is_empty() {
        let mut command = Command::new(&gateway);
        command.args(&args.gateway);
        // Returns only when it could not be started.
        return Err(command.exec()).with_context(|| format!("starting `{}`", exec::line(&command)));
    }
    lab::gateway::choose_binary(gateway);
    let interrupt = Interrupt::watch()?;
    let began = Instant::now();
    let lab = Lab::raise(INSTANCES).context("raising the lab")?;
    let mut config = lab.config().probed();
    config.balancer.forwarding.clone_from(&args.forwarding);
    let mut running = lab.start(&config)?;
    let mut report = Report::default();
    show(&lab, &config, &mut report, began.elapsed());
    examine(&lab, &mut running, &mut report, &interrupt)?;
    let outcome = report.conclude();
    if !args.exit {
        by_hand::show(&lab, &running)?;
        stay(&mut running, &interrupt)?;
    }
    outcome
}

/// What stands now.
fn show(lab: &Lab, config: &Config, report: &mut Report, took: Duration) {
    report.heading(&format!("The lab is up, in {}", seconds(took)));
    let binary = lab::gateway::binary().map(|path| path.display().to_string()).unwrap_or_default();
    let root = format!("{}/", workspace::root().display());
    report.fact("built", binary.strip_prefix(&root).unwrap_or(&binary));
    report.fact("hosts", &lab.hosts.all().map(lab::host::Host::name).collect::<Vec<_>>().join(", "));
    let list = |addresses: &[std::net::IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join("  ")
    };
    report.fact("private VIP", &list(&config.vip.private));
    report.fact("public VIP", &list(&config.vip.public));
    let (word, way) = (config.balancer.forwarding.as_str(), way(&config.balancer.forwarding));
    report.fact("forwarding", &format!("{word}: {way}"));
    for instance in &config.instance {
        report.fact(&instance.name, &format!("{}  weight {}", list(&instance.dip), instance.weight));
    }
}

/// How a packet reaches its instance, and its reply the client.
fn way(forwarding: &str) -> &'static str {
    match forwarding {
        "ipip" => "inside another IP packet; replies straight to the client",
        "gue" => "inside a UDP packet; replies straight to the client",
        "nat" => "with the instance's address; replies through the balancer",
        _ => "with the instance's MAC address; replies straight to the client",
    }
}

/// Real requests, in the order in which a reader wants to know.
fn examine(lab: &Lab, running: &mut Running, report: &mut Report, interrupt: &Interrupt) -> Result<()> {
    type Examination = fn(&Lab, &mut Running, &mut Report) -> Result<()>;
    let examinations: [Examination; 6] = [
        private::flows,
        private::roles,
        private::bare_address,
        public::management,
        public::everything_else,
        public::drops,
    ];
    for examination in examinations {
        interrupt.check()?;
        // One that cannot be done is an outcome like others: what comes after it may tell why.
        if let Err(error) = examination(lab, running, report) {
            report.impossible(&error);
        }
    }
    Ok(())
}

/// Until Ctrl-C, or until something of gateway ends that should not.
fn stay(running: &mut Running, interrupt: &Interrupt) -> Result<()> {
    println!("\nThe lab stays up until Ctrl-C.");
    while !interrupt.came_within(Duration::from_secs(1)) {
        let balancer = std::iter::once(("balancer", &mut running.balancer));
        let proxies = running.proxies.iter_mut().map(|(name, proxy)| (name.as_str(), proxy));
        for (name, gateway) in balancer.chain(proxies) {
            if let Some(status) = gateway.ended()? {
                bail!("gateway on {name} ended ({status}):\n{}", gateway.log());
            }
        }
    }
    Ok(())
}
