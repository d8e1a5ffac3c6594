//! A terminal without a person at it: what a program draws there, by the screen of an emulator (vt100), and how it leaves it.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    num::NonZeroU16,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    pty::{self, Winsize},
    sys::{
        prctl,
        signal::{self, Signal},
        termios::{self, Termios},
    },
    unistd::{self, Pid},
};

use crate::{host::Host, wait};

/// For a program to draw, and to end.
const SOON: Duration = Duration::from_secs(20);
/// What a shell has left on the screen before.
const PROMPT: &str = "$ and what was there before";

/// Columns and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: NonZeroU16,
    /// Lines.
    pub lines: NonZeroU16,
}

/// A terminal and the one program at it. Dropping it ends the program.
pub struct Terminal {
    // Our side, on which keys are typed.
    ours: File,
    // Keeps it in being once the program has ended.
    theirs: OwnedFd,
    child: Child,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts a program on a host, at a terminal of its own.
    ///
    /// # Errors
    /// There is no terminal to be had, or no such program.
    pub fn start(host: &Host, mut command: Command, size: Size) -> anyhow::Result<Self> {
        let pair = pty::openpty(&winsize(size), None).context("cannot make a terminal")?;
        let (ours, theirs) = (File::from(pair.master), pair.slave);
        let before = termios::tcgetattr(&theirs)?;
        let mut parser = vt100::Parser::new(size.lines, size.columns, 0);
        parser.process(format!("{PROMPT}\r\n").as_bytes());
        let screen = Arc::new(Mutex::new(parser));
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs.try_clone()?);
        let at_its_terminal = || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            unistd::setsid()?;
            // SAFETY: TIOCSCTTY takes an integer and touches no memory; 0 is the terminal, as set up above.
            match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: three system calls that allocate nothing, as is asked between fork and exec.
        unsafe { command.pre_exec(at_its_terminal) };
        let child = host.on_thread(move || command.spawn())?.context("cannot start it")?;
        let (reader, drawn) = (ours.try_clone()?, Arc::clone(&screen));
        thread::Builder::new().name("terminal".into()).spawn(move || read(reader, &drawn))?;
        Ok(Self { ours, theirs, child, before, screen })
    }

    /// The lines of the screen, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen();
        let (_, columns) = screen.screen().size();
        let lines = screen.screen().rows(0, columns.get());
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until this is on the screen.
    ///
    /// # Errors
    /// It never is.
    pub fn shows(&self, piece: &str) -> anyhow::Result<()> {
        self.becomes(piece, |lines| lines.iter().any(|line| line.contains(piece))).map(drop)
    }

    /// Waits until the screen is as it should be, and has its lines.
    ///
    /// # Errors
    /// It never is.
    pub fn becomes(&self, what: &str, is: impl Fn(&[String]) -> bool) -> anyhow::Result<Vec<String>> {
        let found = wait::until(SOON, || Some(self.lines()).filter(|lines| is(lines)));
        found.with_context(|| format!("not {what}:\n{}", self.lines().join("\n")))
    }

    /// Types keys.
    ///
    /// # Errors
    /// The terminal is broken.
    pub fn types(&mut self, keys: &str) -> io::Result<()> {
        self.ours.write_all(keys.as_bytes())
    }

    /// Gives the window another size; the kernel tells the program (SIGWINCH).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        self.screen().screen_mut().set_size(size.lines, size.columns);
        let size = winsize(size);
        // SAFETY: the kernel reads one Winsize, which lives until after the call.
        match unsafe { libc::ioctl(self.ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = wait::until(SOON, || self.child.try_wait().transpose());
        let Some(status) = ended else { bail!("it goes on:\n{}", self.lines().join("\n")) };
        Ok(status?)
    }

    /// Waits until the terminal is as the program found it: its settings, its cursor, and what was on the screen.
    ///
    /// # Errors
    /// It never is; says in what.
    pub fn is_as_before(&self) -> anyhow::Result<()> {
        let wrong = || -> anyhow::Result<Vec<&str>> {
            let settings = termios::tcgetattr(&self.theirs)? != self.before;
            let screen = self.screen();
            let screen = screen.screen();
            let faults = [
                (settings, "its settings are others (raw mode)"),
                (screen.alternate_screen(), "the alternate screen was not left"),
                (screen.hide_cursor(), "the cursor is hidden"),
                (screen.contents().trim_end() != PROMPT, "the screen has something else"),
            ];
            Ok(faults.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| what).collect())
        };
        if wait::eventually(SOON, || wrong().is_ok_and(|faults| faults.is_empty())) {
            return Ok(());
        }
        bail!("{}:\n{}", wrong()?.join(", "), self.lines().join("\n"))
    }

    fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until nobody has the other side any more.
fn read(mut from: File, screen: &Mutex<vt100::Parser>) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        screen.lock().unwrap_or_else(PoisonError::into_inner).process(&chunk[..count]);
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.lines.get(), ws_col: size.columns.get(), ws_xpixel: 0, ws_ypixel: 0 }
}
