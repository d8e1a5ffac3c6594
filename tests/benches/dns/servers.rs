//! Those that are compared, each on a host of its own.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::ensure;
use lab::{
    config::default_host,
    gateway::{Gateway, gateway},
    host::Host,
    lab::{Lab, ROLES},
    name_server::{self, NameServer},
};

/// Of each of them, on its own host; from the subnet, for gateway answers nobody outside.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
/// More than anybody can ask.
const RATE: u32 = 10_000_000;

pub(crate) struct Stage {
    lab: Lab,
    config: PathBuf,
    /// A line each, as dnsperf reads them.
    pub(crate) questions: PathBuf,
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    process: Kind,
}

enum Kind {
    Ours(Gateway),
    Theirs(NameServer),
}

fn names() -> Vec<String> {
    ROLES.into_iter().map(default_host).collect()
}

impl Stage {
    pub(crate) fn raise() -> anyhow::Result<Self> {
        let lab = Lab::raise(1)?;
        let mut config = lab.config().answering_dns();
        config.dns.iter_mut().for_each(|dns| dns.rate = Some(RATE));
        let config = lab.write(&config)?;
        let questions = lab.folder().join("questions");
        let lines = names()
            .into_iter()
            .flat_map(|name| ["A", "AAAA", "HTTPS"].map(|kind| format!("{name} {kind}\n")));
        fs::write(&questions, lines.collect::<String>())?;
        Ok(Self { lab, config, questions })
    }

    /// Started one after the other; all run until the end, and idle while they are not asked.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<Server>> {
        Ok(vec![self.gateway()?, self.bind()?, self.dnsmasq()?, self.unbound()?])
    }

    fn gateway(&self) -> anyhow::Result<Server> {
        let host = host("gateway")?;
        let mut command = gateway("dns")?;
        command.args(["serve", "--listen", &SocketAddr::new(ADDRESS.into(), 53).to_string(), "--config"]);
        command.arg(&self.config);
        let process = Gateway::start(&host, command, self.lab.folder())?;
        Server::new("gateway", host, Kind::Ours(process))
    }

    fn bind(&self) -> anyhow::Result<Server> {
        let (host, folder) = (host("named")?, self.folder("named")?);
        self.printed(&host, &format!("zone --format bind --directory {}", folder.display()))?;
        let lines = format!("include \"{}/gateway.conf\";", folder.display());
        let process = name_server::bind(&host, &folder, "recursion no; allow-query { any; };", &lines)?;
        Server::new("BIND", host, Kind::Theirs(process))
    }

    fn dnsmasq(&self) -> anyhow::Result<Server> {
        let (host, folder) = (host("dnsmasq")?, self.folder("dnsmasq")?);
        let lines = self.printed(&host, "zone --format dnsmasq")?;
        let process = name_server::dnsmasq(&host, &folder, &lines)?;
        Server::new("dnsmasq", host, Kind::Theirs(process))
    }

    /// With BIND's zones.
    fn unbound(&self) -> anyhow::Result<Server> {
        let (host, folder) = (host("unbound")?, self.folder("unbound")?);
        let mut lines = String::new();
        for name in names() {
            let zone = self.printed(&host, &format!("zone --format bind --name {name}"))?;
            fs::write(folder.join(&name), zone)?;
            write!(lines, "auth-zone:\n  name: {name}\n  zonefile: {name}\n  for-upstream: no\n")?;
        }
        let process = name_server::unbound(&host, &folder, &lines)?;
        Server::new("Unbound", host, Kind::Theirs(process))
    }

    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.lab.folder().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// What `gateway dns …` prints.
    fn printed(&self, host: &Host, words: &str) -> anyhow::Result<String> {
        let mut command = gateway("dns")?;
        command.args(words.split_whitespace()).arg("--config").arg(&self.config);
        let output = host.run_command(command)?;
        ensure!(output.ok(), "{words}: {}", output.stderr);
        Ok(output.text())
    }
}

impl Server {
    fn new(name: &'static str, host: Host, process: Kind) -> anyhow::Result<Self> {
        let server = Self { name, host, process };
        let core = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1) - 1;
        // All threads that there are; those that come later inherit it.
        server.host.must(&format!("taskset --all-tasks --cpu-list --pid {core} {}", server.id()))?;
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        match &self.process {
            Kind::Ours(process) => process.id(),
            Kind::Theirs(process) => process.id(),
        }
    }
}

fn host(name: &str) -> anyhow::Result<Host> {
    let host = Host::new(name)?;
    host.ip([format!("address add {ADDRESS}/32 dev lo")])?;
    Ok(host)
}
