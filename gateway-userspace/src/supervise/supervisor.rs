//! Starts the two processes, keeps them running, stops them. In mode `none` there is the proxy alone.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use anyhow::Context;
use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    child::{Child, Event, describe},
    notify::Folder,
};
use crate::{
    model::{InstanceName, Mode},
    service_manager,
    watchdog::{self, Watchdog},
};

/// Runs the balancer, if there are VIPs, and the instance's proxy until SIGINT or SIGTERM.
pub(super) async fn run(config: &Path, instance: &InstanceName, mode: Mode) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let folder =
        Folder::create().context("cannot make a folder for the processes' sockets below /run/gateway")?;
    let arguments = |option: &str| -> Vec<OsString> {
        let name = OsString::from(&instance.0);
        vec!["--config".into(), config.into(), option.into(), name]
    };
    let beside: &[OsString] = if mode == Mode::None { &[] } else { &["--beside-balancer".into()] };
    let proxy = [&arguments("--instance"), beside].concat();
    let balance = || Child::new("balance", arguments("--local"), folder.path());
    let mut supervisor = Supervisor {
        balance: (mode != Mode::None).then(balance).transpose()?,
        proxy: Child::new("proxy", proxy, folder.path())?,
        reloading: BTreeSet::new(),
        behind: BTreeSet::new(),
    };
    let served = supervisor.serve(&mut signals).await;
    service_manager::tell(&[NotifyState::Stopping]);
    // Where it ends by an error, the host is left as it was found.
    let stopped = supervisor.stop(*served.as_ref().unwrap_or(&Signal::SIGINT)).await;
    served.and(stopped)
}

/// The signals of this process.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    upgrade: tokio::signal::unix::Signal,
}

enum Request {
    Stop(Signal),
    Reload,
    Upgrade,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop(Signal::SIGINT),
            _ = self.terminate.recv() => Request::Stop(Signal::SIGTERM),
            _ = self.hangup.recv() => Request::Reload,
            _ = self.upgrade.recv() => Request::Upgrade,
        }
    }
}

struct Supervisor {
    balance: Option<Child>,
    proxy: Child,
    /// Those that have not yet said that they are done with a reload.
    reloading: BTreeSet<&'static str>,
    /// Those that read the file before it changed, maybe, and could not hear the signal yet.
    behind: BTreeSet<&'static str>,
}

impl Supervisor {
    /// Until it is asked to stop, by which signal.
    async fn serve(&mut self, signals: &mut Signals) -> anyhow::Result<Signal> {
        // The balancer first: it claims the VIPs, so that the proxy finds them on this host and needs none on lo.
        self.balance.as_mut().unwrap_or(&mut self.proxy).start()?;
        let mut started = false;
        let mut watchdog = Watchdog::asked();
        loop {
            let (child, event) = tokio::select! {
                request = signals.next() => match request {
                    Request::Stop(signal) => {
                        log::info!("{signal}: stopping");
                        return Ok(signal);
                    }
                    Request::Reload => {
                        self.reload();
                        continue;
                    }
                    Request::Upgrade => {
                        log::info!("SIGUSR2: both are started anew");
                        if let Err(error) = self.proxy.follow() {
                            log::error!("{error:#}");
                        }
                        self.balance.iter_mut().for_each(Child::renew);
                        continue;
                    }
                },
                () = watchdog.due() => {
                    watchdog::alive();
                    continue;
                }
                told = next(&mut self.balance) => told?,
                event = self.proxy.next() => (&mut self.proxy, event?),
            };
            let name = child.name();
            if matches!(event, Event::Reloading) {
                // Somebody has asked the balancer itself (`gateway apply`): the proxy takes up the file too.
                if self.balances(name) && self.reloading.insert(name) {
                    ask(&self.proxy, &mut self.reloading, &mut self.behind);
                }
                continue;
            }
            match event {
                Event::Ready | Event::Reloading | Event::Other => {}
                Event::Exited(status) if !started => {
                    anyhow::bail!("`gateway {name}` {}; what it said is above", describe(status));
                }
                Event::Exited(status) => {
                    log::error!("`gateway {name}` {}; starting it again soon", describe(status));
                }
                Event::RestartDue => {
                    if let Err(error) = child.start() {
                        log::error!("{error:#}; trying again soon");
                    }
                }
            }
            if matches!(event, Event::Ready) {
                if self.behind.remove(name) {
                    child.signal(Signal::SIGHUP);
                } else {
                    self.reloading.remove(name);
                }
                if !started && self.balances(name) && !self.proxy.is_ready() {
                    self.proxy.start()?;
                }
                let ready = self.balance.iter().chain([&self.proxy]).all(Child::is_ready);
                if ready && self.reloading.is_empty() {
                    started = true;
                    service_manager::tell(&[NotifyState::Ready]);
                }
            }
        }
    }

    /// Whether it is the balancer that is called so.
    fn balances(&self, name: &str) -> bool {
        self.balance.as_ref().is_some_and(|balance| balance.name() == name)
    }

    /// Both take up the file by themselves; a file with faults changes nothing in either.
    fn reload(&mut self) {
        service_manager::reloading();
        for child in self.balance.iter().chain([&self.proxy]) {
            ask(child, &mut self.reloading, &mut self.behind);
        }
    }

    /// In reverse order: nobody is listening any more before the VIPs go.
    async fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        let proxy = self.proxy.stop(signal).await;
        let balance = match &mut self.balance {
            Some(balance) => balance.stop(signal).await,
            None => Ok(()),
        };
        Ok(proxy.and(balance)?)
    }
}

/// What the balancer does next, if there is one.
async fn next(balance: &mut Option<Child>) -> anyhow::Result<(&mut Child, Event)> {
    let Some(balance) = balance else { return std::future::pending().await };
    let event = balance.next().await?;
    Ok((balance, event))
}

/// To read its file again.
fn ask(child: &Child, reloading: &mut BTreeSet<&'static str>, behind: &mut BTreeSet<&'static str>) {
    if child.is_ready() {
        child.signal(Signal::SIGHUP);
    } else {
        // It may not have its handler yet, and then the signal would end it.
        behind.insert(child.name());
    }
    reloading.insert(child.name());
}
