//! Which balancer is meant.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    api::{
        self,
        client::{self, Client},
    },
    model::Mode,
    net::namespace,
    status::Status,
};

/// Where a file is looked for if none is named.
const USUAL: [&str; 2] = ["gateway.toml", "/etc/gateway/gateway.toml"];

/// Names the balancer that is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Target {
    /// The configuration file, whose service name leads to the balancer's socket [default: gateway.toml here, or
    /// /etc/gateway/gateway.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The balancer's socket, in place of the one that the file leads to
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl Target {
    /// The file that is meant, where there is one.
    pub fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.exists()))
    }

    /// A client of the balancer that is meant.
    ///
    /// # Errors
    /// It cannot be told which one.
    pub fn client(&self) -> anyhow::Result<Client> {
        let socket = match (&self.socket, self.file()) {
            (Some(socket), _) => socket.clone(),
            (None, Some(file)) => {
                let Named { service, mode } = named(&file)?;
                let socket = api::socket_path(&service)?;
                if !socket.exists() && mode.as_deref() == Some(Mode::None.as_str()) {
                    bail!(
                        "{} has `mode = \"none\"`: there is no balancer to ask; each instance answers on its own `probe.port`, and \
                         `gateway check --config {0}` says what is served",
                        file.display()
                    );
                }
                if !socket.exists() {
                    bail!(
                        "`gateway balance` is not running for the service {service} on this host: `gateway balance --config {}` \
                         starts it (no socket {})",
                        file.display(),
                        socket.display()
                    );
                }
                socket
            }
            (None, None) => only()?.context(
                "no balancer is found on this host: name its file by --config FILE, or its socket by --socket PATH",
            )?,
        };
        Client::new(socket).context("cannot start the event loop")
    }
}

/// What a file says of its service, also one that has faults.
struct Named {
    service: String,
    mode: Option<String>,
}

fn named(file: &Path) -> anyhow::Result<Named> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read; name the file by --config FILE", file.display()))?;
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let value = |key| Some(table.get("service")?.as_table()?.get(key)?.as_str()?.to_owned());
    let service = value("name").with_context(|| {
        format!("{} names no service; `gateway check` says what is wrong with it", file.display())
    })?;
    Ok(Named { service, mode: value("mode") })
}

/// Of a file, also one that has faults.
pub(super) fn service(file: &Path) -> anyhow::Result<String> {
    Ok(named(file)?.service)
}

/// The socket of the one balancer in this network namespace; none if there is none.
///
/// # Errors
/// There are several.
pub(super) fn only() -> anyhow::Result<Option<PathBuf>> {
    let Ok(folder) = fs::read_dir(api::FOLDER) else { return Ok(None) };
    let sockets = folder.flatten().map(|entry| entry.path());
    let sockets = sockets.filter(|path| path.extension().is_some_and(|extension| extension == "sock"));
    let mut here: Vec<_> = sockets.filter(|path| is_here(path)).collect();
    match here.len() {
        0 | 1 => Ok(here.pop()),
        several => {
            bail!(
                "{several} balancers run on this host: name the file of one by --config FILE, or its socket by --socket PATH"
            )
        }
    }
}

/// Those of other namespaces are in the folder too, called by both service and namespace. One that keeps us out counts: it
/// is then said so.
fn is_here(socket: &Path) -> bool {
    let Ok(client) = Client::new(socket.to_owned()) else { return false };
    match client.get::<Status>("/v1/status") {
        Ok(status) => namespace::scoped(&status.service)
            .is_ok_and(|name| socket.file_stem().is_some_and(|stem| stem.to_string_lossy() == name.as_str())),
        Err(client::Error::Permission { .. }) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_named_by_a_file_with_faults_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, "[service]\nname = \"contoso\"\nwrong = 1").unwrap();
        assert_eq!(named(&file).unwrap().service, "contoso");
        fs::write(&file, "name = \"contoso\"").unwrap();
        assert!(named(&file).err().unwrap().to_string().contains("gateway check"));
        let target = Target { config: Some(folder.path().join("none.toml")), socket: None };
        assert!(target.client().unwrap_err().to_string().contains("--config FILE"));
    }
}
