//! Running other programs: watched with a time limit, or handed the terminal.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::console::Step;

/// How much of a failed program's output is worth showing.
const TAIL: usize = 15;

/// What fits beside a step's title.
const LINE: usize = 100;

/// Why a watched program did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `exit status: 1`, `gave no result within 20 s`
    pub(crate) how: String,
    /// Everything it wrote.
    pub(crate) output: Vec<String>,
}

impl Failure {
    /// The one line that tells most: the first that calls itself an error, else the last one written.
    pub(crate) fn telling_line(&self) -> String {
        let error = self.output.iter().find_map(|line| {
            line.strip_prefix("error: ").or_else(|| line.strip_prefix("E: ")).filter(|text| !text.is_empty())
        });
        let last = || self.output.iter().rfind(|line| !line.trim().is_empty()).map(String::as_str);
        shortened(error.or_else(last).unwrap_or(&self.how).trim())
    }

    /// The last lines, for an error that nothing else will be tried after.
    pub(crate) fn report(&self) -> String {
        let from = self.output.len().saturating_sub(TAIL);
        let mut text = self.how.clone();
        for line in &self.output[from..] {
            let _ = write!(text, "\n    {line}");
        }
        text
    }
}

/// What failed and the cause at the bottom; what lies between, addresses and temporary files, helps nobody at a glance.
fn shortened(chain: &str) -> String {
    match (chain.split_once(": "), chain.rsplit_once(": ")) {
        (Some((first, _)), Some((_, cause))) if chain.chars().count() > LINE => format!("{first}: … {cause}"),
        _ => chain.to_owned(),
    }
}

/// Runs without input, shows the output's last line in `step`, ends the program at the limit.
///
/// # Errors
/// It could not be started, failed, or took too long.
pub(crate) fn watched(command: &mut Command, step: &Step, limit: Duration) -> Result<(), Failure> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| Failure {
        how: format!("{}: {error}", command.get_program().display()),
        output: Vec::new(),
    })?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    let deadline = Instant::now() + limit;
    let mut output = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                step.output(&line);
                output.push(line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // It may have ended by itself this very moment: then there is nothing to kill, only to wait for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure { how: format!("gave no result within {} s", limit.as_secs()), output });
            }
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure { how: status.to_string(), output }),
        Err(error) => Err(Failure { how: error.to_string(), output }),
    }
}

/// Sends each line as it comes.
pub(crate) fn forward(from: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// What a short question to another program answers on stdout; `None` when it fails or is not there.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs with this terminal's input and output.
///
/// # Errors
/// It could not be started or failed: what it wrote says why.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// `cargo`, the one that runs xtask, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::workspace::root());
    command
}

/// A command as a person would type it: what is set in its environment, then the words.
pub(crate) fn line(command: &Command) -> String {
    let environment = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy(), value?.to_string_lossy())));
    let program = command.get_program();
    // cargo names itself by the full path of its toolchain.
    let program = match std::path::Path::new(program).file_name() {
        Some(name) if name == "cargo" => name,
        _ => program,
    };
    environment
        .map(|(name, value)| format!("{name}={value}"))
        .chain(std::iter::once(program).chain(command.get_args()).map(word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn word(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c)) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_at_the_limit() {
        let began = Instant::now();
        let step = Step::begin("sleep");
        let failure = watched(Command::new("sleep").arg("60"), &step, Duration::from_millis(50)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(failure.how, "gave no result within 0 s");
    }

    #[test]
    fn a_failure_is_told_by_its_error_line() {
        let step = Step::begin("sh");
        let script = "echo info: trying; echo 'error: no such component' >&2; echo trace >&2; exit 3";
        let failure =
            watched(Command::new("sh").args(["-c", script]), &step, Duration::from_secs(60)).unwrap_err();
        assert_eq!(failure.telling_line(), "no such component");
        assert!(failure.report().starts_with("exit status: 3"), "{}", failure.report());
    }

    #[test]
    fn a_long_chain_of_causes_keeps_its_ends() {
        let middle = "could not download file from 'http://127.0.0.1:9/dist/rust-src.tar.xz' to '/root/.rustup/x': client error";
        let chain = format!("component download failed: {middle}: Connection refused");
        assert_eq!(shortened(&chain), "component download failed: … Connection refused");
        assert_eq!(shortened("a: b: c"), "a: b: c");
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command.args(["install", "a b"]).env("LLVM_PREFIX", "/usr/lib/llvm-22").env_remove("RUSTFLAGS");
        assert_eq!(line(&command), "LLVM_PREFIX=/usr/lib/llvm-22 cargo install 'a b'");
    }
}
