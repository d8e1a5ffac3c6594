//! What the operator asks of a running balancer.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal that leaves nothing behind; by the other one the kernel goes on forwarding.
pub(super) const DETACH: &str = "SIGINT";

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGINT or SIGTERM.
    Stop(&'static str),
    /// SIGHUP: take up the file.
    Reload,
    /// SIGUSR1: write the counters.
    Report,
}

/// The signals of this process, heard from its making on.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next request. Safe to drop half-way: no signal is lost.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop(DETACH),
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user.recv() => Request::Report,
        }
    }

    /// The next request to stop; others wait.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => DETACH,
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
