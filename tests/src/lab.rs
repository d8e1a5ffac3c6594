//! Everything together: hosts, certificate authority, services, the file, the program under test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    ca::{Authority, Leaf},
    config::{Config, custom_host, default_host},
    counters::Counters,
    gateway::{Gateway, gateway},
    host::Host,
    service::Services,
    topology::Hosts,
    wait,
};

/// The roles of the lab's file (R42).
pub const ROLES: [&str; 5] = ["gateway", "portal", "developer", "management", "scm"];

/// For the balancer to write its counters.
const COUNTERS: Duration = Duration::from_secs(5);

/// A lab that is up. Dropping it takes everything away.
#[derive(Debug)]
pub struct Lab {
    /// The upstream services. They end before their host does.
    pub services: Services,
    /// The hosts.
    pub hosts: Hosts,
    /// Signs what clients of the lab trust.
    pub authority: Authority,
    certificates: BTreeMap<&'static str, Leaf>,
    folder: TempDir,
}

/// What runs in a lab that was started whole.
#[derive(Debug)]
pub struct Running {
    /// `gateway balance`
    pub balancer: Gateway,
    /// `gateway proxy` by instance.
    pub proxies: BTreeMap<String, Gateway>,
}

impl Lab {
    /// Raises hosts, services and certificates; nothing of gateway runs yet.
    ///
    /// # Errors
    /// Not root, or a tool is missing.
    pub fn raise(instances: u8) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("gateway-lab-").tempdir().context("no temporary folder")?;
        let authority = Authority::new(&folder.path().join("tls"))?;
        let mut certificates = BTreeMap::new();
        for role in ROLES {
            let hosts = [Some(default_host(role)), custom_host(role).map(str::to_owned)];
            certificates
                .insert(role, authority.leaf(role, &hosts.into_iter().flatten().collect::<Vec<_>>())?);
        }
        let hosts = Hosts::raise(instances)?;
        Ok(Self { services: Services::start(&hosts.services)?, hosts, authority, certificates, folder })
    }

    /// The lab's own file, to be varied.
    pub fn config(&self) -> Config {
        let instances = u8::try_from(self.hosts.instances.len()).unwrap_or(u8::MAX);
        Config::new(instances, &self.certificates)
    }

    /// Writes a file that the balancer and all instances are given, in place of the last.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, config: &Config) -> anyhow::Result<PathBuf> {
        self.write_text(&toml::to_string(config).context("the file cannot be written as TOML")?)
    }

    /// The same, from text that need not be right.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_text(&self, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join("gateway.toml");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Where files of this lab are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The host of an instance.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn instance(&self, name: &str) -> anyhow::Result<&Host> {
        let found = self.hosts.instances.iter().find(|host| host.name() == name);
        found.with_context(|| format!("the lab has no instance {name}"))
    }

    /// Starts `gateway balance` on the balancer.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn balance(&self, config: &Path) -> anyhow::Result<Gateway> {
        let mut command = gateway("balance")?;
        command.arg("--config").arg(config).arg("--counters").arg(self.counters_file());
        Gateway::start(&self.hosts.balancer, command, self.folder())
    }

    /// Asks the lab's balancer for its counters (SIGUSR1).
    ///
    /// # Errors
    /// It does not write them.
    pub fn counters(&self, balancer: &mut Gateway) -> anyhow::Result<Counters> {
        let file = self.counters_file();
        // A file that is there afterwards is a new one: it is put in place whole.
        if file.exists() {
            fs::remove_file(&file)?;
        }
        balancer.signal(Signal::SIGUSR1)?;
        let text = wait::until(COUNTERS, || fs::read(&file).ok());
        let text = text.with_context(|| format!("no counters after {COUNTERS:?}:\n{}", balancer.log()))?;
        serde_json::from_slice(&text).context("counters that the lab cannot read")
    }

    fn counters_file(&self) -> PathBuf {
        self.folder().join("counters.json")
    }

    /// Starts `gateway proxy` on an instance.
    ///
    /// # Errors
    /// It does not become ready, or there is no such instance.
    pub fn proxy(&self, config: &Path, instance: &str) -> anyhow::Result<Gateway> {
        let mut command = gateway("proxy")?;
        command.arg("--config").arg(config).args(["--instance", instance]);
        Gateway::start(self.instance(instance)?, command, self.folder())
    }

    /// Starts `gateway proxy --take-over` on an instance, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::proxy`].
    pub fn next_proxy(&self, config: &Path, instance: &str) -> anyhow::Result<Gateway> {
        let mut command = gateway("proxy")?;
        command.arg("--config").arg(config).args(["--instance", instance, "--take-over"]);
        Gateway::start(self.instance(instance)?, command, self.folder())
    }

    /// Writes the file and starts it all: a proxy on every instance that the file names, then the balancer.
    ///
    /// # Errors
    /// One does not become ready.
    pub fn start(&self, config: &Config) -> anyhow::Result<Running> {
        let path = self.write(config)?;
        let proxy = |name: &String| Ok((name.clone(), self.proxy(&path, name)?));
        let proxies =
            config.instance.iter().map(|instance| proxy(&instance.name)).collect::<anyhow::Result<_>>()?;
        Ok(Running { balancer: self.balance(&path)?, proxies })
    }
}
