//! What an operator or a service manager asks of the process.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of this process, heard from their making on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    upgrade: Signal,
}

/// What one asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGINT: end, and leave the host as it was found.
    End,
    /// SIGTERM: end; the service manager may start it again, and what it keeps for that stays.
    Stop,
    /// SIGHUP: read the file again.
    Reload,
    /// SIGUSR2: start the program anew, and hand over to it.
    Upgrade,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let heard = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
            hangup: heard(SignalKind::hangup())?,
            upgrade: heard(SignalKind::user_defined2())?,
        })
    }

    /// Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::End,
            _ = self.terminate.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
            _ = self.upgrade.recv() => Request::Upgrade,
        }
    }
}
