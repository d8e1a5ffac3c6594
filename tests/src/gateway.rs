//! The program under test, as a process of its own.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::{
    host::Host,
    notify::Notifications,
    process::{Output, Process},
};

/// Start-up includes duplicate-address detection (a second or two), and tests share the machine.
const READY: Duration = Duration::from_secs(30);
/// From the signal to the end.
const STOP: Duration = Duration::from_secs(15);

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
static SOCKETS: AtomicU32 = AtomicU32::new(0);

/// A `gateway` that runs and has said that it is ready. Drop stops it as an operator would.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    notifications: Notifications,
}

/// Has every lab of this process run that binary.
pub fn choose_binary(path: PathBuf) {
    // The first choice stays: labs that run already were raised with it.
    let _ = CHOSEN.set(path);
}

/// The binary: the one chosen, `GATEWAY_BIN`, or the newest that the workspace has built.
///
/// # Errors
/// There is none.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = CHOSEN.get() {
        return Ok(path.clone());
    }
    if let Some(path) = env::var_os("GATEWAY_BIN") {
        return Ok(path.into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = ["release", "debug"].map(|profile| target.join(profile).join("gateway"));
    let newest =
        built.into_iter().filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).max();
    let (_, path) = newest
        .context("the binary `gateway` is not built: `cargo xtask build`, or name one by GATEWAY_BIN")?;
    Ok(path)
}

/// `gateway COMMAND`, to which options can be added.
///
/// # Errors
/// See [`binary`].
pub fn gateway(command: &str) -> anyhow::Result<Command> {
    let mut gateway = Command::new(binary()?);
    gateway.arg(command);
    Ok(gateway)
}

impl Gateway {
    /// Starts a command on a host and waits until it is ready.
    ///
    /// # Errors
    /// It ends first, or is not ready in half a minute; the message has what it said.
    pub fn start(host: &Host, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
        let notifications = Notifications::listen(&folder.join(format!("notify-{number}")))?;
        command.env("NOTIFY_SOCKET", notifications.path());
        let mut gateway = Self { process: host.spawn(command)?, notifications };
        gateway.ready().with_context(|| format!("gateway on {}", host.name()))?;
        Ok(gateway)
    }

    /// What it has told the service manager besides, line by line.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn told(&mut self) -> anyhow::Result<Option<String>> {
        self.notifications.line()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on for longer than an end may take.
    pub fn wait(&mut self) -> anyhow::Result<Output> {
        self.process.wait(STOP)
    }

    /// Waits for the next `READY=1`.
    fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY;
        while Instant::now() < end {
            if self.notifications.line()?.is_some_and(|line| line == "READY=1") {
                return Ok(());
            }
            if self.process.ended()?.is_some() {
                let output = self.process.wait(STOP)?;
                bail!("ended before it was ready ({}):\n{}", output.status, output.stderr);
            }
        }
        bail!("not ready after {READY:?}:\n{}", self.process.stderr())
    }

    /// Has it read its file again (SIGHUP), and waits until it has.
    ///
    /// # Errors
    /// It ends, or never says so.
    pub fn reload(&mut self) -> anyhow::Result<()> {
        // Only what comes after the signal counts.
        while self.notifications.line()?.is_some() {}
        self.process.signal(Signal::SIGHUP)?;
        self.ready().context("after SIGHUP")
    }

    /// Whether it tells its service manager a line, `WATCHDOG=1` for example, from now on and before the deadline.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn says(&mut self, what: &str, deadline: Duration) -> anyhow::Result<bool> {
        while self.notifications.line()?.is_some() {}
        let end = Instant::now() + deadline;
        while Instant::now() < end {
            if self.notifications.line()?.is_some_and(|line| line == what) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends it as an operator does at a terminal, so that the host is left as it was found (SIGINT).
    ///
    /// # Errors
    /// It does not end; by Drop it is then killed.
    pub fn stop(mut self) -> anyhow::Result<Output> {
        self.end(Signal::SIGINT)
    }

    /// Ends it as a service manager does: the kernel goes on (SIGTERM).
    ///
    /// # Errors
    /// It does not end.
    pub fn leave(mut self) -> anyhow::Result<Output> {
        self.end(Signal::SIGTERM)
    }

    /// Ends it as a crash would (SIGKILL).
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(mut self) -> anyhow::Result<Output> {
        self.end(Signal::SIGKILL)
    }

    /// Ends it by a signal of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn end(&mut self, signal: Signal) -> anyhow::Result<Output> {
        self.process.signal(signal)?;
        self.process.wait(STOP)
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Whether it has.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.ended(), Ok(None))
    }

    /// Sends a signal and waits for nothing.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged until now.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // By force, it could leave things outside of its namespace, such as pins. Where it does not want to, the
        // process's own Drop kills it.
        let ended = matches!(self.ended(), Ok(Some(_)));
        if !ended && self.end(Signal::SIGINT).is_err() && std::thread::panicking() {
            eprintln!("gateway {} did not stop by SIGINT:\n{}", self.id(), self.log());
        }
    }
}
