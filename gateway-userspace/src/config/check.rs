//! `gateway check`

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use annotate_snippets::Renderer;
use anyhow::Context;

use super::{
    Faults, Rendering, Report, Severity, certificates,
    fault::{count, renderer},
    rendering,
    resolve::Resolved,
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
    let (resolved, report) = read(&args.config);
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

fn read(path: &Path) -> (Resolved, Report) {
    let (resolved, report) = super::read(path);
    let now = SystemTime::now();
    let report = report.extend(certificates::check(&resolved.certificates, now));
    let report = report.extend(certificates::check_upstreams(&resolved.upstream_tls, now));
    let report = report.extend(certificates::check_clients(&resolved.authorities));
    (resolved, report)
}

/// All that is found in a file, and what it says where it has no faults: as text without colour.
pub(crate) fn text(path: &Path) -> String {
    let (resolved, report) = read(path);
    let found = report.render(&Renderer::plain());
    let model = resolved.model.filter(|_| report.of(Severity::Fault).next().is_none());
    model.map_or_else(|| found.clone(), |model| format!("{found}\n{}", Summary(&model)))
}
