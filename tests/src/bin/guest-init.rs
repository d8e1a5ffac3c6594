//! The first and only process of a guest kernel: mounts what the tests need, runs them, says how they ended, stops the machine.
//!
//! The kernel hands it the arguments and the environment that stood on its command line; the tests get both.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::Command,
};

use anyhow::{Context as _, Result};
use lab::guest;
use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        termios::tcdrain,
    },
};

/// Type and place, in this order.
const MOUNTS: [(&str, &str); 4] =
    [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("bpf", "/sys/fs/bpf")];

/// Lines of a verifier's log that are shown, of tens of thousands.
const REFUSAL: usize = 60;

fn main() -> Result<()> {
    anyhow::ensure!(std::process::id() == 1, "this is for a guest kernel to start, as its init");
    let code = tests().unwrap_or_else(|error| {
        println!("guest: {error:#}");
        guest::NOT_STARTED
    });
    if code != 0 {
        show_refusal();
    }
    println!("{}", guest::ended_line(code));
    io::stdout().flush().context("the console")?;
    // What is still on its way to the serial line would be lost.
    tcdrain(io::stdout()).context("the console")?;
    // Rebooting works on every machine, powering off only with ACPI; the emulator takes either for the end.
    reboot(RebootMode::RB_AUTOBOOT).context("stopping the machine")?;
    Ok(())
}

/// What the kernel's verifier said last, if it refused a program: the file that an error names is gone with the guest.
fn show_refusal() {
    let files = fs::read_dir("/tmp").into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(file) = files.filter(|path| path.extension().is_some_and(|is| is == "log")).min() else {
        return;
    };
    let Ok(log) = fs::read_to_string(&file) else { return };
    let lines: Vec<_> = log.lines().collect();
    println!("\nThe end of {}:", file.display());
    for line in &lines[lines.len().saturating_sub(REFUSAL)..] {
        println!("    {line}");
    }
}

/// Runs the tests; the exit code as shells give it.
fn tests() -> Result<u8> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("making {place}"))?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {kind} on {place}"))?;
    }
    fs::create_dir_all("/tmp").context("making /tmp")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    println!("{}", guest::runs_line(release.trim()));
    let status = Command::new(guest::TESTS)
        .args(std::env::args_os().skip(1))
        // A serial line with unknown ends: no colours.
        .env_remove("TERM")
        .status()
        .with_context(|| format!("starting {}", guest::TESTS))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
