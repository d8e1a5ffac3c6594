//! What the verifier said of a program that it refused: all of it into a file, the telling line onto the screen.

use std::{
    env, fmt,
    fs::File,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process,
};

/// What a log of the verifier ends with, whatever it said before (`print_verification_stats` in the kernel).
const STATISTICS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
/// As many logs of one process number are kept beside each other.
const FILES: u32 = 100;

/// Why, as the verifier put it. Reads as the end of a sentence, and as nothing where it said nothing.
#[derive(Debug)]
pub struct Refusal {
    telling: Option<String>,
    log: Option<PathBuf>,
}

impl Refusal {
    /// Keeps the whole log, of up to 16 MiB, in a file of its own.
    pub(super) fn keep(log: &str) -> Self {
        let Some(telling) = telling_line(log) else { return Self { telling: None, log: None } };
        let kept = write(log).inspect_err(|error| {
            log::warn!("the verifier's log could not be written to {}: {error}", env::temp_dir().display());
        });
        Self { telling: Some(telling.to_owned()), log: kept.ok() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(telling) = &self.telling {
            write!(f, ": {telling}")?;
        }
        if let Some(log) = &self.log {
            write!(f, " (all it said is in {})", log.display())?;
        }
        Ok(())
    }
}

/// The last line before the statistics: `R9 !read_ok`.
fn telling_line(log: &str) -> Option<&str> {
    let is_statistics = |line: &str| STATISTICS.iter().any(|start| line.starts_with(start));
    log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_statistics(line))
}

/// Only ever a new file, since others may write to the folder too, and readable for its owner alone: a log has kernel addresses.
fn write(log: &str) -> io::Result<PathBuf> {
    let folder = env::temp_dir();
    let mut last = io::ErrorKind::AlreadyExists.into();
    for number in 0..FILES {
        let path = folder.join(format!("gateway-verifier-{}-{number}.log", process::id()));
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => return file.write_all(log.as_bytes()).map(|()| path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    /// Of Linux 6.18.
    const LOG: &str = "\
0: R1=ctx() R10=fp0
; let data = unsafe { (*ctx).data } @ frame.rs:21
0: (79) r0 = *(u64 *)(r9 +0)
R9 !read_ok
verification time 117 usec
stack depth 0
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

";

    #[test]
    fn the_line_before_the_statistics_tells() {
        assert_eq!(telling_line(LOG), Some("R9 !read_ok"));
        let too_large =
            "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000)";
        assert_eq!(telling_line(too_large), Some("BPF program is too large. Processed 1000001 insn"));
        assert_eq!(
            telling_line("last insn is not an exit or jmp\n"),
            Some("last insn is not an exit or jmp")
        );
        assert_eq!(telling_line("processed 0 insns (limit 1000000)\n"), None);
        assert_eq!(telling_line(""), None);
    }

    #[test]
    fn each_log_has_a_file_for_its_owner_alone() {
        let [first, second] = [Refusal::keep(LOG), Refusal::keep(LOG)].map(|refusal| refusal.log.unwrap());
        assert_ne!(first, second);
        for path in [first, second] {
            assert_eq!(fs::read_to_string(&path).unwrap(), LOG);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn it_ends_a_sentence() {
        let refusal = Refusal { telling: Some("R9 !read_ok".into()), log: Some("/tmp/log".into()) };
        assert_eq!(refusal.to_string(), ": R9 !read_ok (all it said is in /tmp/log)");
        assert_eq!(Refusal::keep("").to_string(), "");
    }
}
