//! A child process: its output is kept for failure messages, and Drop ends and reaps it.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::wait;

/// What a finished command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, as bytes: a downloaded body is not always text.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Whether it ended with exit code 0.
    pub fn ok(&self) -> bool {
        self.status.success()
    }
}

/// How long a child may take to end when it is asked to.
const END: Duration = Duration::from_secs(5);

/// A running child.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    ends_by: Signal,
    stdout: Kept,
    stderr: Kept,
}

/// Bytes that a thread reads from a pipe as they come.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Text>>);

#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    ended: bool,
}

impl Kept {
    fn read(pipe: Option<impl Read + Send + 'static>) -> Self {
        let kept = Self::default();
        let Some(mut pipe) = pipe else { return kept };
        let writer = kept.clone();
        thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                writer.lock().bytes.extend_from_slice(&chunk[..count]);
            }
            writer.lock().ended = true;
        });
        kept
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// The pipe is at its end shortly after the process is: unless a grandchild holds it, which is not waited for.
    fn settle(&self) {
        wait::eventually(Duration::from_secs(1), || self.lock().ended);
    }
}

impl Process {
    /// Starts `command` with nothing on its standard input.
    ///
    /// # Errors
    /// The program is not there, or no process can be made.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let what = describe(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{what}`"))?;
        let (stdout, stderr) = (Kept::read(child.stdout.take()), Kept::read(child.stderr.take()));
        Ok(Self { what, child, ends_by: Signal::SIGKILL, stdout, stderr })
    }

    /// Drop asks it to end by this signal, and kills it only if it does not: so it may end children of its own.
    #[must_use]
    pub fn ending_by(mut self, signal: Signal) -> Self {
        self.ends_by = signal;
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard output until now.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// The standard error until now.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone and was waited for.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("`{}` ended before {signal} ({status}):\n{}", self.what, self.stderr());
        }
        let pid = Pid::from_raw(i32::try_from(self.id())?);
        signal::kill(pid, signal).with_context(|| format!("cannot send {signal} to `{}`", self.what))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for `{}`", self.what))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs when `deadline` has passed.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<Output> {
        let ended = wait::until(deadline, || self.ended().transpose());
        let Some(status) = ended.transpose()? else {
            bail!("`{}` still runs after {deadline:?}:\n{}", self.what, self.stderr());
        };
        self.stdout.settle();
        self.stderr.settle();
        Ok(Output { status, stdout: self.stdout(), stderr: self.stderr() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ends_by != Signal::SIGKILL && self.signal(self.ends_by).is_ok() {
            wait::eventually(END, || !matches!(self.ended(), Ok(None)));
        }
        // Both fail only where the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
