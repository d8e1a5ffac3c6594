//! strace(1) at a process under test: which system calls it makes, and what becomes of it when one of them fails or is its last.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::{process::Process, wait};

/// To attach, and to let go: it stops each thread for that.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what it said to arrive where it is read.
const LATE: Duration = Duration::from_secs(1);

/// One call of a thread: the n-th of that name since it is watched, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `sendto`
    pub name: String,
    /// Which.
    pub number: usize,
    /// Its first argument; a descriptor with what it is of: `9<NETLINK:[ROUTE:4711]>`.
    pub on: String,
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before it is made.
    Kill,
    /// It is not made and returns that error, `ENOMEM`.
    Error(&'static str),
}

/// A strace that is attached to all threads of a process. Dropped, it lets go.
#[derive(Debug)]
pub struct Strace {
    process: Process,
    output: PathBuf,
    main: u32,
}

impl Strace {
    /// Writes down every call.
    ///
    /// # Errors
    /// strace is not there, or may not trace.
    pub fn watch(process: u32, folder: &Path) -> anyhow::Result<Self> {
        Self::attach(process, folder, &[])
    }

    /// Has a fault happen at a call, the main thread's or another one's.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub fn inject(process: u32, folder: &Path, call: &Call, fault: Fault) -> anyhow::Result<Self> {
        let fault = match fault {
            Fault::Kill => "signal=SIGKILL".to_owned(),
            Fault::Error(errno) => format!("error={errno}"),
        };
        let Call { name, number, .. } = call;
        let (trace, inject) = (format!("trace={name}"), format!("inject={name}:{fault}:when={number}"));
        Self::attach(process, folder, &["-e", &trace, "-e", &inject])
    }

    fn attach(main: u32, folder: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let output = folder.join("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-yy", "-p", &main.to_string()]).args(options).arg("-o").arg(&output);
        let mut strace = Self { process: Process::spawn(&mut strace)?, output, main };
        // Its first call may be its last.
        let is_attached = |strace: &Self| strace.process.stderr().contains(" attached");
        wait::eventually(PATIENCE, || is_attached(&strace) || !matches!(strace.process.ended(), Ok(None)));
        let attached = wait::eventually(LATE, || is_attached(&strace));
        if !attached {
            bail!("strace cannot attach: {}", strace.process.stderr());
        }
        Ok(strace)
    }

    /// Lets go, and gives the calls that the main thread made, in their order.
    ///
    /// # Errors
    /// strace does not end.
    pub fn calls(mut self) -> anyhow::Result<Vec<Call>> {
        self.let_go()?;
        let text = fs::read_to_string(&self.output).context("strace wrote nothing")?;
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
            let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            if thread != self.main.to_string() || !is_name {
                continue;
            }
            let number = calls.iter().filter(|call| call.name == name).count() + 1;
            let on = arguments.split([',', ')']).next().unwrap_or_default().to_owned();
            calls.push(Call { name: name.to_owned(), number, on });
        }
        Ok(calls)
    }

    /// Lets go; does nothing where the process has ended.
    ///
    /// # Errors
    /// strace does not end.
    pub fn let_go(&mut self) -> anyhow::Result<()> {
        if self.process.ended()?.is_none() {
            self.process.signal(Signal::SIGINT)?;
            self.process.wait(PATIENCE)?;
        }
        Ok(())
    }
}
