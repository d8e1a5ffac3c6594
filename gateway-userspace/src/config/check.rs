//! `gateway check`

use std::{
    io::{self, Write},
    path::PathBuf,
    time::SystemTime,
};

use anyhow::Context;

use super::{
    Faults, Rendering, Severity, certificates,
    fault::{count, renderer},
    rendering,
    summary::Summary,
};

const EXAMPLES: &str = "\
Examples:
  gateway check --config /etc/gateway/gateway.toml
      what the file says, or all that is wrong with it; exit code 2 if anything is
  gateway check --deny-warnings
      exit code 1 for warnings too, for a build server
  gateway check --json | jq '.faults[].code'
      for programs (docs/check.schema.json)";

/// What `gateway check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Print faults and warnings as JSON to stdout
    #[arg(long)]
    json: bool,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
}

/// Checks a file and the certificates it names.
///
/// # Errors
/// [`Faults`]; warnings, where they are denied.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (resolved, report) = super::read(&args.config);
    let now = SystemTime::now();
    let report = report.extend(certificates::check(&resolved.certificates, now));
    let report = report.extend(certificates::check_upstreams(&resolved.upstream_tls, now));
    let report = report.extend(certificates::check_clients(&resolved.authorities));
    let mut out = io::stdout().lock();
    let rendering = if args.json {
        writeln!(out, "{:#}", report.json()).context("the report could not be written to stdout")?;
        Rendering::Done
    } else {
        rendering()
    };
    let Some(model) = resolved.model.filter(|_| report.of(Severity::Fault).next().is_none()) else {
        return Err(Faults { report, rendering }.into());
    };
    let warnings = report.of(Severity::Warning).count();
    if !args.json {
        if warnings > 0
            && let Some(renderer) = renderer(rendering)
        {
            eprint!("{}", report.render(&renderer));
        }
        write!(out, "{}", Summary(&model)).context("the summary could not be written to stdout")?;
    }
    if args.deny_warnings && warnings > 0 {
        anyhow::bail!(
            "{} in {}, and --deny-warnings is given",
            count(warnings, "warning"),
            args.config.display()
        );
    }
    Ok(())
}
