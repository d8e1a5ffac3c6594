//! `cargo xtask test --kernel PACKAGE`: the tests of single packets on another kernel.
//!
//! They are linked into static executables, each of which an emulator boots beside the kernel and an init
//! (`tests/src/bin/guest-init.rs`): nothing else of a system is needed, and no privilege.

use std::{
    fs,
    io::Write as _,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lab::guest;

use super::{
    cpio::Archive,
    machine::{Machine, command_line},
};
use crate::{console::seconds, exec, setup, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The integration tests of the lab that need a kernel and nothing around it.
const TESTS: [&str; 2] = ["packets", "snat"];
/// What those tests read.
const INPUTS: [&str; 2] = ["docs/examples", "gateway-ebpf/fuzz/corpus"];
/// An emulated processor is some thirty times slower, and the tables are what differs between kernels.
const FRAMES: &str = "5000";
/// Tests that take more than a loopback interface: the guest has no other, and no modules to make one with. And one that takes
/// more time than the guest has.
const LEFT_OUT: [&str; 3] = ["what_comes_by_another_interface", "a_reply_leaves_by", "r34_sixty_thousand"];
/// Random histories of steering: the host's code alone, which does not depend on the kernel.
const HISTORIES: &str = "100";

/// Says which packages there are.
pub(super) fn list() -> Result<()> {
    let offers = setup::kernel::offers();
    ensure!(!offers.is_empty(), "apt knows no kernel packages; next step: sudo apt-get update");
    println!(
        "cargo xtask test --kernel PACKAGE, with one of these packages, or the path of another's .deb file:"
    );
    for name in offers {
        println!("  {name}");
    }
    Ok(())
}

/// Boots `package`'s kernel and runs the tests in it, with `arguments` as for any test executable.
///
/// # Errors
/// Something is missing, cannot be built or booted, or a test failed.
pub(super) fn run(package: &str, arguments: &[String]) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the emulator is set up for x86_64, which this machine is not");
    setup::ensure()?;
    let image = setup::kernel::bring(package)?;
    let built = build()?;
    // What a test prints (the verifier's count) is worth seeing; whoever gives arguments says so themselves.
    let skipped = LEFT_OUT.iter().flat_map(|test| ["--skip", *test]);
    let shown: Vec<String> = ["--show-output"].into_iter().chain(skipped).map(str::to_owned).collect();
    let arguments = if arguments.is_empty() {
        eprintln!(
            "left out, for a guest has neither links nor `ip`, and little time: {}",
            LEFT_OUT.join(", ")
        );
        &shown
    } else {
        arguments
    };
    let command_line = command_line(&environment(), arguments)?;
    let began = Instant::now();
    for (name, tests) in TESTS.into_iter().zip(&built.tests) {
        // Without a name: however this ends, it is gone.
        let mut initramfs = tempfile::tempfile_in(workspace::kernels()).context("making the initramfs")?;
        initramfs.write_all(&archive(&built.init, tests)?).context("writing the initramfs")?;
        let code = Machine::boot(&image, &path(&initramfs), &command_line)?.watch()?;
        if code != 0 {
            bail!("on the kernel of {package} the tests of `{name}` ended with exit code {code}");
        }
    }
    println!("on the kernel of {package} all is well ({} with booting)", seconds(began.elapsed()));
    Ok(())
}

/// By which another process opens a file that this one has open.
fn path(file: &fs::File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

/// Variables for the tests: what they are here, else fewer frames, and a seed that the guest, always the same, has not.
fn environment() -> Vec<(String, String)> {
    let seed = std::process::id().to_string();
    let defaults = [
        ("GATEWAY_PARITY_FRAMES", Some(FRAMES)),
        ("GATEWAY_PARITY_SEED", Some(&*seed)),
        ("GATEWAY_MODEL_HISTORIES", Some(HISTORIES)),
        ("RUST_BACKTRACE", None),
    ];
    let value = |name, default: Option<&str>| std::env::var(name).ok().or_else(|| default.map(str::to_owned));
    defaults
        .into_iter()
        .filter_map(|(name, default)| Some((name.to_owned(), value(name, default)?)))
        .collect()
}

/// Executables that need no library.
#[derive(Debug)]
struct Built {
    init: PathBuf,
    /// In the order of [`TESTS`].
    tests: Vec<PathBuf>,
}

/// Builds apart from everything else (`target/static`), since other flags would throw away what is built. With a target
/// named, the flags are for the guest alone: procedural macros cannot be static.
fn build() -> Result<Built> {
    let mut cargo = exec::cargo();
    cargo
        .args(["test", "--package", "lab", "--no-run", "--target", TARGET])
        .args(TESTS.iter().flat_map(|test| ["--test", *test]))
        .args(["--target-dir", "target/static", "--message-format", "json-render-diagnostics"])
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // Tens of megabytes less to link, to write and to unpack.
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
        .stdout(Stdio::piped());
    let output = cargo.spawn().and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("starting `{}`", exec::line(&cargo)))?;
    ensure!(output.status.success(), "`{}` failed ({})", exec::line(&cargo), output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let find = |name| executable(&messages, name).ok_or_else(|| anyhow!("cargo built no {name}"));
    Ok(Built { init: find("guest-init")?, tests: TESTS.into_iter().map(find).collect::<Result<_>>()? })
}

/// Where cargo says that it put the executable of the target `name`.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = messages.filter(|message| message["target"]["name"] == name);
    found.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn archive(init: &Path, tests: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    let mut add = |place: &Path, file: &Path| {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        archive.add(place, &content);
        anyhow::Ok(())
    };
    add(Path::new(guest::INIT), init)?;
    add(Path::new(guest::TESTS), tests)?;
    for input in INPUTS {
        for file in files(&workspace::root().join(input))? {
            add(&file, &file)?;
        }
    }
    Ok(archive.finish())
}

/// All files in a folder and below.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_found_in_what_cargo_writes() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"guest-init"},"executable":"/t/guest-init"}
            {"reason":"compiler-artifact","target":{"name":"packets","kind":["bench"]},"executable":null}
            no message
            {"reason":"compiler-artifact","target":{"name":"packets","kind":["test"]},"executable":"/t/deps/packets-1"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "packets"), Some("/t/deps/packets-1".into()));
        assert_eq!(executable(messages, "guest-init"), Some("/t/guest-init".into()));
        assert_eq!(executable(messages, "lab"), None);
    }
}
