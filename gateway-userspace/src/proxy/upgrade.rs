//! SIGUSR2: the program as it is on disk now is started with `--take-over`.

use std::{
    env,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use super::{Args, store};

/// The successor that this process has started, if any.
#[derive(Debug)]
pub(super) struct Upgrade {
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    child: Option<Child>,
}

impl Upgrade {
    /// To be made at the start: once the file is replaced, the kernel calls the old one deleted.
    pub(super) fn of(args: &Args) -> anyhow::Result<Self> {
        let program = env::current_exe().context("cannot tell where this program is")?;
        let mut arguments = vec!["proxy".into(), "--config".into(), args.config.clone().into()];
        arguments.extend(["--instance".into(), args.instance.clone().into(), "--take-over".into()]);
        if args.beside_balancer {
            arguments.push("--beside-balancer".into());
        }
        Ok(Self { program, arguments, child: None })
    }

    /// Starts it.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        if store::is_supervised() {
            bail!("`gateway run` watches over this process: send SIGUSR2 to that");
        }
        if self.child.is_some() {
            bail!("a successor is starting already");
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        // They are this process's own.
        store::ENVIRONMENT.iter().for_each(|name| {
            command.env_remove(name);
        });
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        log::info!(
            "{} is started as process {}, to take over",
            self.program.display(),
            child.id().unwrap_or_default()
        );
        self.child = Some(child);
        Ok(())
    }

    /// How it ended, which it does while this process waits only where it cannot take over. Safe to drop half-way.
    pub(super) async fn failed(&mut self) -> ExitStatus {
        loop {
            let Some(child) = &mut self.child else { return std::future::pending().await };
            let status = child.wait().await;
            self.child = None;
            if let Ok(status) = status {
                return status;
            }
        }
    }
}
