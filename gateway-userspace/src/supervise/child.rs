//! One supervised process of this binary.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::{Pid, getppid},
};
use tokio::{
    process::{Child as Process, Command},
    time::{sleep_until, timeout},
};

use super::{
    backoff::Backoff,
    notify::{NotifySocket, Said},
};
use crate::proxy::store::SUPERVISOR;

/// How long a child may take to stop, before it is killed: a proxy lets requests end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What became of a child.
#[derive(Debug)]
pub(super) enum Event {
    /// It works, or it works again after a reload.
    Ready,
    /// It takes up its file.
    Reloading,
    /// It ended by itself.
    Exited(ExitStatus),
    /// The wait after a crash is over.
    RestartDue,
    /// Nothing that concerns others.
    Other,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot start `gateway {name}`")]
    Start { name: &'static str, source: io::Error },
    #[error("cannot learn from `gateway {name}` whether it is ready")]
    Notify { name: &'static str, source: io::Error },
    #[error("cannot wait for `gateway {name}`")]
    Wait { name: &'static str, source: io::Error },
}

/// A process, or the wait for the next one.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    arguments: Vec<OsString>,
    notify: NotifySocket,
    process: Option<Process>,
    /// Starts, to take over from it.
    successor: Option<Process>,
    /// Was taken over from, and lets its connections end.
    leaving: Option<Process>,
    /// It was asked to end so that it is started anew.
    is_renewed: bool,
    /// Since when it has been ready.
    ready_since: Option<Instant>,
    restart_at: Option<Instant>,
    backoff: Backoff,
}

impl Child {
    /// Not started yet. `name` is the command, of which `arguments` are the rest.
    pub(super) fn new(name: &'static str, arguments: Vec<OsString>, folder: &Path) -> Result<Self, Error> {
        let notify = NotifySocket::bind(folder, name).map_err(|source| Error::Notify { name, source })?;
        let backoff = Backoff::new();
        Ok(Self {
            name,
            arguments,
            notify,
            process: None,
            successor: None,
            leaving: None,
            is_renewed: false,
            ready_since: None,
            restart_at: None,
            backoff,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Starts a process. On an error the next attempt is due after a wait, as after a crash.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        self.notify.clear();
        match self.spawn(&[]) {
            Ok(process) => {
                self.process = Some(process);
                self.restart_at = None;
                Ok(())
            }
            Err(source) => {
                self.restart_at = Some(Instant::now() + self.backoff.after(Duration::ZERO));
                Err(Error::Start { name: self.name, source })
            }
        }
    }

    /// It shall end when this process ends, however that ends; and Ctrl-C in a terminal shall reach this process only,
    /// which then stops its children in order.
    fn spawn(&self, more: &[&str]) -> io::Result<Process> {
        let own = Pid::this();
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(self.name)
            .args(&self.arguments)
            .args(more)
            // They are between this process and its own service manager.
            .env_remove("FDSTORE")
            .env_remove("WATCHDOG_USEC")
            .env(SUPERVISOR, own.to_string())
            .env("NOTIFY_SOCKET", self.notify.path())
            .process_group(0);
        let stored = self.notify.store().pass(&mut command)?;
        let die_with_parent = move || {
            set_pdeathsig(Signal::SIGTERM)?;
            // The parent may have ended before the signal was asked for.
            if getppid() == own { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: prctl and getppid are system calls,
        // and no memory is allocated.
        unsafe { command.pre_exec(die_with_parent) };
        let process = command.spawn();
        drop(stored);
        process
    }

    /// The next event. Safe to drop half-way: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        let name = self.name;
        let Some(process) = &mut self.process else {
            match self.restart_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
            return Ok(Event::RestartDue);
        };
        tokio::select! {
            // What it said before it ended comes first.
            biased;
            said = self.notify.next() => {
                match said.map_err(|source| Error::Notify { name, source })? {
                    Said::Ready => {}
                    Said::Reloading => return Ok(Event::Reloading),
                    Said::Main(pid) => {
                        if let Some(successor) = self.successor.take_if(|successor| successor.id() == Some(pid)) {
                            self.leaving = self.process.replace(successor);
                        }
                        return Ok(Event::Other);
                    }
                }
                self.ready_since.get_or_insert_with(Instant::now);
                Ok(Event::Ready)
            }
            status = process.wait() => {
                let status = status.map_err(|source| Error::Wait { name, source })?;
                let ran = self.ready_since.map_or(Duration::ZERO, |since| since.elapsed());
                self.process = None;
                self.ready_since = None;
                if std::mem::take(&mut self.is_renewed) {
                    self.restart_at = Some(Instant::now());
                    return Ok(Event::Other);
                }
                self.restart_at = Some(Instant::now() + self.backoff.after(ran));
                Ok(Event::Exited(status))
            }
            status = end_of(&mut self.successor) => {
                log::error!("the new `gateway {name}` {}; the running one goes on", describe(status));
                Ok(Event::Other)
            }
            _ = end_of(&mut self.leaving) => Ok(Event::Other),
        }
    }

    /// Starts the program as it is now, to take over from the process that runs.
    pub(super) fn follow(&mut self) -> Result<(), Error> {
        if self.process.is_none() || self.successor.is_some() {
            // The next start is of the new program anyway.
            return Ok(());
        }
        let start = self.spawn(&["--take-over"]);
        self.successor = Some(start.map_err(|source| Error::Start { name: self.name, source })?);
        Ok(())
    }

    /// Ends it, and starts the program as it is now at once.
    pub(super) fn renew(&mut self) {
        if self.is_ready() {
            self.is_renewed = true;
            self.signal(Signal::SIGTERM);
        }
    }

    /// Passes on a signal; does nothing while no process runs.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(pid) = self.process.as_ref().and_then(Process::id) else { return };
        if let Err(error) = kill(Pid::from_raw(pid as i32), signal) {
            log::warn!("cannot send {signal} to `gateway {}`: {error}", self.name);
        }
    }

    /// Asks it to end and waits until it has; kills it when it takes too long.
    pub(super) async fn stop(&mut self, signal: Signal) -> Result<(), Error> {
        if let Some(mut successor) = self.successor.take() {
            successor.kill().await.map_err(|source| Error::Wait { name: self.name, source })?;
        }
        self.signal(signal);
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let failed = |source| Error::Wait { name: self.name, source };
        match timeout(STOP_PATIENCE, process.wait()).await {
            Ok(status) => {
                let status = status.map_err(failed)?;
                if !status.success() {
                    log::error!("`gateway {}` {}", self.name, describe(status));
                }
            }
            Err(_) => {
                log::error!(
                    "`gateway {}` has not ended within {} s; killing it",
                    self.name,
                    STOP_PATIENCE.as_secs()
                );
                process.kill().await.map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// How a process ended that is not the main one; then it is nobody's.
async fn end_of(process: &mut Option<Process>) -> ExitStatus {
    let Some(waited) = process else { return std::future::pending().await };
    let status = waited.wait().await.unwrap_or_default();
    *process = None;
    status
}

/// "ended with exit code 1", "was killed by SIGSEGV"
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(Ok(signal))) => format!("was killed by {signal}"),
        (None, _) => format!("ended: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_described_by_code_or_signal() {
        assert_eq!(describe(ExitStatus::from_raw(2 << 8)), "ended with exit code 2");
        assert_eq!(describe(ExitStatus::from_raw(11)), "was killed by SIGSEGV");
    }
}
