//! `gateway dns zone`

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::File;
use crate::{
    control::print,
    dns::{
        self, Records,
        formats::{bind, coredns, dnsmasq, nsupdate, rpz},
    },
    near,
};

const EXAMPLES: &str = "\
Examples:
  gateway dns zone --format bind --directory /etc/bind/gateway
      a zone file for each name, and gateway.conf, which named.conf includes; then `rndc reconfig && rndc reload`
  gateway dns zone --format bind --name contoso.azure-api.net | named-checkzone contoso.azure-api.net /dev/stdin
  gateway dns zone --format dnsmasq > /etc/dnsmasq.d/gateway.conf
  gateway dns zone --format nsupdate | nsupdate -l
  gateway dns zone --format rpz > /etc/bind/rpz.gateway
      for resolvers of BIND, Unbound, Knot and PowerDNS; wildcards included
  gateway dns zone --format coredns > /etc/coredns/gateway
      with `import gateway` in the Corefile's server block";

/// The statements beside the zone files.
const STATEMENTS: &str = "gateway.conf";

/// What `gateway dns zone` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: File,
    /// For which server
    #[arg(long, value_enum)]
    format: Format,
    /// With `bind`: write zone files and gateway.conf there instead of printing them
    #[arg(long, value_name = "FOLDER", conflicts_with = "name")]
    directory: Option<PathBuf>,
    /// With `bind`: print the zone file of this name only
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Zone files (RFC 1035) and statements for named.conf; NSD and Knot read the files too
    Bind,
    /// Lines for /etc/dnsmasq.d
    Dnsmasq,
    /// Dynamic updates (RFC 2136)
    Nsupdate,
    /// A response policy zone for resolvers
    Rpz,
    /// A snippet of a Corefile
    Coredns,
}

/// Prints or writes them.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.format != Format::Bind && (args.directory.is_some() || args.name.is_some()) {
        bail!("`--directory` and `--name` go with `--format bind`; the other formats are one file");
    }
    let (_, records) = dns::load(&args.file.config)?;
    match args.format {
        Format::Bind => match (&args.directory, &args.name) {
            (Some(folder), _) => write(&records, folder),
            (None, Some(name)) => print(&one(&records, name)?),
            (None, None) => print(&all(&records)),
        },
        Format::Dnsmasq => print(&dnsmasq::text(&records)),
        Format::Nsupdate => print(&nsupdate::text(&records)),
        Format::Rpz => print(&rpz::text(&records)),
        Format::Coredns => print(&coredns::text(&records)),
    }
}

fn one(records: &Records, name: &str) -> anyhow::Result<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let zones = bind::zones(records);
    match zones.iter().find(|zone| zone.name == name) {
        Some(zone) => Ok(zone.text.clone()),
        None => {
            let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
            bail!(near::none_such("zone of", &name, &names))
        }
    }
}

/// To look at; files are what `--directory` writes.
fn all(records: &Records) -> String {
    let zones = bind::zones(records)
        .into_iter()
        .map(|zone| format!("; ---- {}\n{}", bind::file_name(&zone.name), zone.text));
    let statements = bind::statements(records, Path::new(""));
    zones.chain([format!("; ---- {STATEMENTS}\n{statements}")]).collect::<Vec<_>>().join("\n")
}

/// Zone files of names that are no more stay where they are: nothing includes them.
fn write(records: &Records, folder: &Path) -> anyhow::Result<()> {
    let failed = |path: &Path| format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(|| failed(folder))?;
    let folder = folder.canonicalize().with_context(|| failed(folder))?;
    let zones = bind::zones(records);
    for zone in &zones {
        let path = folder.join(bind::file_name(&zone.name));
        fs::write(&path, &zone.text).with_context(|| failed(&path))?;
    }
    let path = folder.join(STATEMENTS);
    fs::write(&path, bind::statements(records, &folder)).with_context(|| failed(&path))?;
    print(&format!("{} zones are written; named.conf: include \"{}\";\n", zones.len(), path.display()))
}
