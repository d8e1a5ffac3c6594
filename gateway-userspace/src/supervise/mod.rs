//! `gateway run`: the balancer and one instance on this host, as two processes, so that neither's crash or upgrade
//! touches the other.

mod backoff;
mod child;
mod notify;
mod store;
mod supervisor;

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    config,
    model::{InstanceName, Model},
    net::{self, Netlink, address::Address},
};

const EXAMPLES: &str = "\
Examples:
  gateway run --config /etc/gateway/gateway.toml
      balancer and proxy on this host, which has one of the instances' addresses, until Ctrl-C; in mode none the proxy alone
  kill -HUP PID
      both take up the changed file
  kill -USR2 PID
      both are started anew, as the program is on disk now; no connection is refused or reset";

/// What `gateway run` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The instance that runs here [default: the one whose address is on this host]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

/// Which instance runs here cannot be told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Unknown(String),
    #[error(
        "this host has none of the instances' addresses ({dips}); give it one, add this host as an [[instance]], or \
         start `gateway balance` alone"
    )]
    NoneHere { dips: String },
    #[error("this host has the addresses of {names}; choose one with --instance")]
    Several { names: String },
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let model = config::load(&args.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let instance = choose(&model, args.instance.as_deref(), &addresses().await?)?;
        log::info!("this host is instance {instance}");
        supervisor::run(&args.config, &instance, model.service.mode).await
    })
}

async fn addresses() -> Result<Vec<Address>, net::Error> {
    Netlink::open()?.addresses().await
}

/// The instance that is named, or the one that has an address here.
fn choose(model: &Model, named: Option<&str>, present: &[Address]) -> Result<InstanceName, Error> {
    if let Some(name) = named {
        let unknown = || Error::Unknown(model.no_instance(name));
        return model.instance(name).map(|instance| instance.name.clone()).ok_or_else(unknown);
    }
    let is_here = |dips: &[std::net::IpAddr]| present.iter().any(|address| dips.contains(&address.ip));
    let here: Vec<_> = model.instances.iter().filter(|i| is_here(&i.dip)).map(|i| &i.name).collect();
    match here.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::NoneHere { dips: list(model.instances.iter().flat_map(|i| &i.dip)) }),
        several => Err(Error::Several { names: list(several) }),
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    fn on_host(ips: &[&str]) -> Vec<Address> {
        let address = |ip: &&str| Address {
            link: 2,
            ip: ip.parse().unwrap(),
            prefix_len: 24,
            tentative: false,
            duplicate: false,
        };
        ips.iter().map(address).collect()
    }

    #[test]
    fn the_instance_is_the_one_whose_address_is_here() {
        let model = model(&["gw-1", "gw-2"]);
        let chosen = choose(&model, None, &on_host(&["192.0.2.1", "10.0.0.12"])).unwrap();
        assert_eq!(chosen, InstanceName("gw-2".into()));
        let chosen = choose(&model, Some("gw-1"), &[]).unwrap();
        assert_eq!(chosen, InstanceName("gw-1".into()));
    }

    #[test]
    fn what_cannot_be_told_is_refused_with_what_to_do() {
        let model = model(&["gw-1", "gw-2"]);
        let refusal = |named, ips: &[&str]| choose(&model, named, &on_host(ips)).unwrap_err().to_string();
        assert_eq!(refusal(Some("host"), &[]), "there is no instance host; the file has gw-1, gw-2");
        assert!(
            refusal(None, &[])
                .starts_with("this host has none of the instances' addresses (10.0.0.11, 10.0.0.12)")
        );
        assert_eq!(
            refusal(None, &["10.0.0.11", "10.0.0.12"]),
            "this host has the addresses of gw-1, gw-2; choose one with --instance"
        );
    }
}
