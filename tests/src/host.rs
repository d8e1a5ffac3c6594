//! A host: a network namespace without a name, held by a thread that lives in it.
//!
//! A namespace that no file under /run/netns names is gone with its last process and descriptor, so neither a panic
//! nor `kill -9` leaves one behind, and nothing has to be unique. `nsenter --net=/proc/PID/fd/N` looks inside.
//! Only the network is separate: /sys, and the bpffs in it, stay the machine's (`ip netns exec` would hide them).

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::net::UnixDatagram, unix::process::CommandExt},
    panic,
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use nix::sched::{self, CloneFlags};
use nix::sys::{prctl, signal::Signal};

use crate::process::{Output, Process};

/// Long enough for any command that only sets something up or asks something.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// One host of the lab.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: File,
    /// Work for the thread that lives in the namespace; it ends when this is dropped.
    jobs: mpsc::Sender<Job>,
}

impl Host {
    /// A host with nothing but a loopback interface that is up.
    ///
    /// # Errors
    /// No privileges for a network namespace (the lab runs as root).
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (made, namespace) = mpsc::channel();
        thread::Builder::new().name(format!("lab {name}")).spawn(move || {
            if made.send(enter_new_namespace()).is_ok() {
                inbox.iter().for_each(|job| job());
            }
        })?;
        let namespace = namespace.recv()?.with_context(|| format!("cannot make the host {name}"))?;
        let host = Self { name: name.to_owned(), namespace, jobs };
        // What the machine has set there is inherited otherwise.
        for family in ["all", "default"] {
            host.sysctl(&format!("net/ipv4/conf/{family}/rp_filter"), "0")?;
        }
        host.ip(["link set lo up"])?;
        Ok(host)
    }

    /// What it is called in the picture.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which `ip` and `nsenter` find the namespace while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.namespace.as_raw_fd())
    }

    /// The kernel's number of the namespace, which ends the names of what is in places that several share.
    ///
    /// # Errors
    /// The kernel does not tell it (before Linux 5.14).
    pub fn cookie(&self) -> anyhow::Result<u64> {
        // From include/uapi/asm-generic/socket.h; the libc crate does not have it.
        const SO_NETNS_COOKIE: libc::c_int = 71;
        self.on_thread(|| {
            let socket = UnixDatagram::unbound()?;
            let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
            let place = (&raw mut cookie).cast();
            // SAFETY: the kernel writes at most `length` bytes to `cookie`, which is that long, and a socklen_t to `length`.
            let outcome = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    SO_NETNS_COOKIE,
                    place,
                    &raw mut length,
                )
            };
            if outcome == 0 { Ok(cookie) } else { Err(io::Error::last_os_error().into()) }
        })?
    }

    /// Starts a command here. It does not outlive this process, even one killed by force.
    ///
    /// # Errors
    /// The program is not there.
    pub fn spawn(&self, mut command: Command) -> anyhow::Result<Process> {
        // A group of its own, so that Ctrl-C at a terminal reaches only whoever raised the lab, who ends the rest in order.
        command.process_group(0);
        // SAFETY: prctl(PR_SET_PDEATHSIG) is one system call and allocates nothing, as is asked between fork and exec.
        unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
        // By the host's own thread: children are in the namespace of the thread that forks, and the signal above comes when
        // that thread ends, which a test's or a closure's may do early.
        self.on_thread(move || Process::spawn(&mut command))?
    }

    /// Runs a line to its end; words are separated by white space, there is no shell.
    ///
    /// # Errors
    /// The program is not there, or takes longer than a minute. How it ended is the caller's to judge.
    pub fn run(&self, line: &str) -> anyhow::Result<Output> {
        self.run_command(command(line))
    }

    /// Runs a command to its end, as [`Self::run`] does.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_command(&self, command: Command) -> anyhow::Result<Output> {
        self.spawn(command)?.wait(COMMAND_DEADLINE)
    }

    /// Runs a line that has to succeed, and has its standard output.
    ///
    /// # Errors
    /// It did not; the message has what it said.
    pub fn must(&self, line: &str) -> anyhow::Result<String> {
        let output = self.run(line)?;
        if !output.ok() {
            bail!("{}: `{line}`: {}\n{}", self.name, output.status, output.stderr);
        }
        Ok(output.text())
    }

    /// Gives lines to one `ip -batch`.
    ///
    /// # Errors
    /// The first line that `ip` refuses.
    pub fn ip<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) -> anyhow::Result<()> {
        let batch = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect::<String>();
        let name = self.name.clone();
        self.on_thread(move || {
            let mut ip = Command::new("ip");
            ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = ip.spawn().context("cannot start `ip`: is iproute2 installed?")?;
            child.stdin.take().context("no pipe to ip")?.write_all(batch.as_bytes())?;
            let output = child.wait_with_output()?;
            if !output.status.success() {
                bail!("{name}: ip refused one of\n{batch}{}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(())
        })?
    }

    /// Sets a value under /proc/sys, which shows each thread its own namespace's.
    ///
    /// # Errors
    /// There is no such setting, or it does not take the value.
    pub fn sysctl(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let (path, value) = (format!("/proc/sys/{key}"), value.to_owned());
        self.on_thread(move || fs::write(&path, value).with_context(|| format!("cannot set {path}")))?
    }

    /// Runs a closure on a thread of its own in the namespace: sockets it opens are this host's. Its panic is the caller's.
    pub fn enter<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.join().expect("a namespace that is held can be entered by root");
                closure()
            });
            inside.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// No privileges.
    pub fn join(&self) -> nix::Result<()> {
        sched::setns(&self.namespace, CloneFlags::CLONE_NEWNET)
    }

    /// Runs work on the thread that lives in the namespace.
    pub(crate) fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (answer, answered) = mpsc::channel();
        let job = Box::new(move || {
            // Nobody listens only where the caller is gone.
            let _ = answer.send(work());
        });
        self.jobs.send(job).map_err(|_| anyhow!("the host {} has ended", self.name))?;
        answered.recv().with_context(|| format!("the host {} has ended", self.name))
    }
}

fn enter_new_namespace() -> anyhow::Result<File> {
    sched::unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace: the lab needs root")?;
    File::open("/proc/thread-self/ns/net").context("cannot open the namespace")
}

/// A command from its words.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}
