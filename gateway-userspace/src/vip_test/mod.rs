//! `gateway test`: real connections through the VIPs for every name and role, from this host.
//!
//! `targets` says what is tried, `attempt` makes one connection, `report` what came of all.

mod attempt;
mod report;
mod targets;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use futures_util::{StreamExt as _, stream};

pub use self::report::{Check, Leads, Report, State, Vip, schema};
use self::{attempt::Attempts, targets::Target};
use crate::{
    config,
    control::{Exit, print, print_json, screen::Colour},
    model::{Mode, Model, UpstreamTls},
    near::none_such,
    net::{Netlink, route::Way},
    trust,
};

/// Connections at a time.
const AT_ONCE: usize = 16;
/// As shells say of what ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  gateway test --config /etc/gateway/gateway.toml
      every name at every VIP, on a host where clients are; exit code 1 if any of them fails
  gateway test --role management --vip 203.0.113.5
      one role at one VIP
  gateway test --ca internal-root.pem --json | jq '.checks[] | select(.state == \"failed\")'
      for programs (docs/test.schema.json), with certificates of an authority of one's own

It changes nothing, and needs no privileges and no balancer on this host: the file is enough. On a host that has the VIPs itself \
connections do not leave it; it says so.";

/// What `gateway test` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Only this role
    #[arg(long)]
    role: Option<String>,
    /// Only this VIP
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<IpAddr>,
    /// Who may have issued the certificates, as PEM, in place of those that this system trusts
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The path that is asked for
    #[arg(long, default_value = "/")]
    path: String,
    /// How long one connection may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// Tries them all.
///
/// # Errors
/// One failed, or none could be tried.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let model = config::load(&args.config)?;
    let targets = chosen(&model, args)?;
    let tls =
        args.ca.as_ref().map(|ca| UpstreamTls { ca: Some(ca.clone()), server_name: None, certificate: None });
    let tls = trust::client_config(tls.as_ref())
        .context("certificates cannot be verified; --ca names a file of authorities")?;
    let attempts = Attempts::new(&tls, args.path.clone(), args.timeout);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let (report, is_whole) = runtime.block_on(async {
        let vips = ways(&targets).await?;
        let mut report = Report::new(vips);
        let mut checks =
            stream::iter(targets).map(async |target| attempts.of(target).await).buffered(AT_ONCE);
        let is_whole = loop {
            tokio::select! {
                check = checks.next() => match check {
                    Some(check) => report.add(check),
                    None => break true,
                },
                // Whatever is open is closed with this process.
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted.context("cannot wait for Ctrl-C")?;
                    break false;
                }
            }
        };
        anyhow::Ok((report, is_whole))
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.render(Colour::of_stdout()))?;
    }
    match (is_whole, report.ok) {
        (false, _) => Err(Exit(INTERRUPTED).into()),
        (true, false) => Err(Exit(1).into()),
        (true, true) => Ok(()),
    }
}

/// What is tried, of what the file has.
fn chosen(model: &Model, args: &Args) -> anyhow::Result<Vec<Target>> {
    if model.service.mode == Mode::None {
        bail!(
            "{} has `mode = \"none\"`: there are no VIPs to test; `curl --resolve NAME:443:DIP https://NAME/` asks an instance",
            args.config.display()
        );
    }
    let mut targets = targets::all(model);
    if let Some(role) = &args.role {
        let mut roles: Vec<_> = targets.iter().map(|target| target.role).collect();
        roles.dedup();
        if !roles.contains(&role.as_str()) {
            bail!(none_such("role", role, &roles));
        }
        targets.retain(|target| target.role == role.as_str());
    }
    if let Some(vip) = args.vip {
        if !model.vip.all().any(|known| known == vip) {
            let known: Vec<_> = model.vip.all().map(|vip| vip.to_string()).collect();
            bail!(none_such("VIP", &vip.to_string(), &known.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        targets.retain(|target| target.at.ip() == vip);
    }
    if targets.is_empty() {
        bail!("{} has no name that is served there; `gateway check` says what it has", args.config.display());
    }
    Ok(targets)
}

/// Which way this host's connections to the VIPs go.
async fn ways(targets: &[Target]) -> anyhow::Result<Vec<Vip>> {
    let netlink = Netlink::open()?;
    let mut vips: Vec<Vip> = Vec::new();
    for address in targets.iter().map(|target| target.at.ip()) {
        if vips.iter().any(|known| known.address == address) {
            continue;
        }
        let (leads, interface, router) = match netlink.way_to(address).await? {
            Way::Local => (Leads::Here, None, None),
            Way::None => (Leads::Nowhere, None, None),
            Way::Out(route) => {
                let link = netlink.link_at(route.link).await?;
                (Leads::Out, link.map(|link| link.name), route.gateway)
            }
        };
        vips.push(Vip { address, leads, interface, router });
    }
    Ok(vips)
}
