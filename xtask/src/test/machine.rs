//! An emulated machine with a kernel and an initramfs, and its console.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lab::guest;

use crate::{
    console::{Step, seconds},
    exec::{self, Failure},
    setup::kernel::EMULATOR,
};

/// Booting and the tests take a minute or two on an idle machine.
const LIMIT: Duration = Duration::from_mins(20);
/// Only the serial line for a console, errors alone on it, and a panic reboots, which ends the emulator.
const KERNEL: &str = "console=ttyS0 loglevel=4 panic=-1";
/// What the kernel takes, of arguments and of variables (`CONFIG_INIT_ENV_ARG_LIMIT`), less its own two or three.
const WORDS: usize = 28;
/// `COMMAND_LINE_SIZE` on x86.
const LENGTH: usize = 2047;

/// What to hand to the kernel so that init gets `environment` and `arguments`.
///
/// # Errors
/// The kernel's command line has no place or no way of quoting for them.
pub(super) fn command_line(environment: &[(String, String)], arguments: &[String]) -> Result<String> {
    ensure!(
        arguments.len() <= WORDS,
        "{} arguments are more than the {WORDS} a kernel hands on",
        arguments.len()
    );
    let variables = environment.iter().map(|(name, value)| quoted(&format!("{name}={value}")));
    let arguments = arguments.iter().map(|argument| quoted(argument));
    let words = variables.chain([Ok("--".to_owned())]).chain(arguments).collect::<Result<Vec<_>>>()?;
    let line = format!("{KERNEL} {}", words.join(" "));
    ensure!(
        line.len() <= LENGTH,
        "the arguments are longer than the {LENGTH} bytes of a kernel's command line"
    );
    Ok(line)
}

/// A word as the kernel's `next_arg` reads it: double quotes keep spaces together, and nothing keeps a double quote.
fn quoted(word: &str) -> Result<String> {
    ensure!(
        !word.contains(['"', '\n']),
        "the kernel's command line cannot carry `{word}`, with a quote in it"
    );
    Ok(if word.is_empty() || word.contains(char::is_whitespace) {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    })
}

/// A running emulator; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Machine {
    emulator: Child,
    console: mpsc::Receiver<String>,
}

impl Machine {
    /// Starts it.
    pub(super) fn boot(image: &Path, initramfs: &Path, command_line: &str) -> Result<Self> {
        // It goes with this process, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", EMULATOR, "-nodefaults", "-no-user-config", "-no-reboot"])
            // Interpreted: hardware virtualization is not everywhere, and hangs where it is nested badly. One processor: with
            // two, 5.13 and 5.15 hang in qemu 7.2 when one of them patches the code that the other runs (the XDP dispatcher).
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1G"])
            .args(["-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", command_line]);
        Self::start(&mut command)
    }

    fn start(command: &mut Command) -> Result<Self> {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut emulator = spawned.with_context(|| format!("starting `{}`", exec::line(command)))?;
        let (sender, console) = mpsc::channel();
        if let Some(output) = emulator.stdout.take() {
            exec::forward(output, sender);
        }
        Ok(Self { emulator, console })
    }

    /// Shows what its console says, as it comes; the exit code of the tests.
    ///
    /// # Errors
    /// The kernel stopped before they had ended, or it took too long.
    pub(super) fn watch(mut self) -> Result<u8> {
        let deadline = Instant::now() + LIMIT;
        let mut booting = Some(Step::begin("booting"));
        let mut output = Vec::new();
        loop {
            let line = match self.console.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line.trim_end().to_owned(),
                Err(RecvTimeoutError::Timeout) => bail!("no result within {}", seconds(LIMIT)),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(code) = guest::code_of(&line) {
                return Ok(code);
            }
            match booting.take() {
                Some(step) if guest::release_of(&line).is_none() => {
                    step.output(&line);
                    booting = Some(step);
                }
                Some(step) => {
                    step.done();
                    println!("{line}");
                }
                None => println!("{line}"),
            }
            output.push(line);
        }
        let how = match self.emulator.wait() {
            Ok(status) => {
                format!("the machine stopped before the tests had ended (emulator: {status}); it said last:")
            }
            Err(error) => format!("waiting for the emulator: {error}"),
        };
        bail!(Failure { how, output }.report())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arguments_and_variables_reach_init() {
        let frames = [("GATEWAY_PARITY_FRAMES".to_owned(), "7".to_owned())];
        let line = command_line(&frames, &words(&["--exact", "a name"])).unwrap();
        assert_eq!(line, format!("{KERNEL} GATEWAY_PARITY_FRAMES=7 -- --exact \"a name\""));
        assert_eq!(command_line(&[], &[]).unwrap(), format!("{KERNEL} --"));
    }

    fn machine(script: &str) -> Machine {
        Machine::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn the_tests_exit_code_is_read_off_the_console() {
        let runs = guest::runs_line("6.1.0");
        let script = format!("printf 'loading\\r\\n{runs}\\r\\n{}\\r\\n'; sleep 60", guest::ended_line(101));
        assert_eq!(machine(&script).watch().unwrap(), 101);
    }

    #[test]
    fn a_machine_that_stops_early_tells_its_last_words() {
        let error = machine("echo 'Kernel panic - not syncing'; exit 3").watch().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("Kernel panic"), "{error}");
    }

    #[test]
    fn a_machine_that_is_dropped_is_gone() {
        let machine = machine("exec sleep 60");
        let process = nix::unistd::Pid::from_raw(machine.emulator.id().cast_signed());
        drop(machine);
        assert_eq!(nix::sys::signal::kill(process, None), Err(nix::errno::Errno::ESRCH));
    }

    #[test]
    fn what_a_kernel_cannot_hand_on_is_refused() {
        assert!(command_line(&[], &words(&["a\"b"])).is_err());
        assert!(command_line(&[], &words(&["x"; 29])).is_err());
        assert!(command_line(&[], &words(&[&"x".repeat(2048)])).is_err());
    }
}
