//! `gateway detach`: takes away what the kernel goes on with after `gateway balance` or `gateway proxy` has ended.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    config,
    dataplane::pins::{self, Piece},
    net::{
        Netlink,
        changes::{Changes, Role},
    },
};

const EXAMPLES: &str = "\
Examples:
  gateway detach --config /etc/gateway/gateway.toml
      after `systemctl stop` or `kill -9`: the host as it was before the first start
  gateway detach --service contoso
      the same where the file is gone";

/// What `gateway detach` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file, which names the service
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The service, in place of the file
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    service: Option<String>,
}

/// Takes all of it away, where none of the two processes runs.
///
/// # Errors
/// One runs; what could not be taken away.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let service = match &args.service {
        Some(name) => name.clone(),
        None => config::load(&args.config)?.service.name,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let netlink = Netlink::open()?;
        // Both locks before anything changes.
        let mut both = [Changes::adopt(Role::Balance)?, Changes::adopt(Role::Proxy)?];
        // Addresses first: none is reachable while nothing guards it.
        let mut undone = Ok(());
        for changes in &mut both {
            undone = undone.and(changes.settle(&netlink).await);
        }
        let mut found = false;
        for piece in Piece::ALL {
            found |= pins::detach(&service, piece)?;
        }
        undone?;
        println!("{service}: {}", if found { "detached" } else { "nothing was attached" });
        Ok(())
    })
}
