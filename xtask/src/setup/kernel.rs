//! Other Linux kernels, out of the distribution's packages: downloaded and unpacked, never installed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Mode, Setup, apt, clients, clients::Client};
use crate::{console::Step, exec, workspace};

/// What runs them: slow, but the same everywhere, in a virtual machine too.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

const LIMIT: Duration = Duration::from_mins(10);

/// The kernel image out of `package`: a name that apt knows, or a `.deb` file. Brings the emulator as well.
///
/// # Errors
/// There is no such package, no kernel in it, or no emulator to be had.
pub(crate) fn bring(package: &str) -> Result<PathBuf> {
    ensure!(apt::is_here(), "kernels come out of packages, and this is not Debian");
    let mut setup = Setup::new(Mode::Bring);
    let emulator =
        Client { program: EMULATOR, package: "qemu-system-x86", what_for: "booting other kernels" };
    clients::bring(&mut setup, &[emulator])?;
    let file = Path::new(package);
    if file.extension().is_some_and(|extension| extension == "deb") {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        return kept(&name, |_| Ok(file.to_owned()));
    }
    if !apt::has(package) {
        setup.refresh_lists();
    }
    let version = apt::version(package).ok_or_else(|| unknown(package))?;
    kept(&format!("{package}_{version}"), |folder| download(package, folder))
}

/// The names of kernel packages that apt knows.
pub(crate) fn offers() -> Vec<String> {
    let search = ["search", "--names-only", r"^linux-image-[0-9]+\.[0-9]+\.[0-9]"];
    let found = exec::ask(Command::new("apt-cache").args(search)).unwrap_or_default();
    let names = found.lines().filter_map(|line| line.split_whitespace().next());
    // Those unsigned are the same kernels once more, and what they are signed for is not used here.
    let mut names: Vec<_> = names
        .filter(|name| !name.ends_with("-dbg") && !name.ends_with("-unsigned"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn unknown(package: &str) -> anyhow::Error {
    let offers = offers();
    if offers.is_empty() {
        return anyhow!("apt knows no package {package}, nor any kernel; next step: sudo apt-get update");
    }
    anyhow!("apt knows no package {package}; next step: name one of\n  {}", offers.join("\n  "))
}

/// The image of that name below `target/kernels`, unpacked from what `package` puts into a folder if it is not there yet.
fn kept(name: &str, package: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let kernels = workspace::kernels();
    let image = kernels.join(format!("{name}.vmlinuz"));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(&kernels).with_context(|| format!("making {}", kernels.display()))?;
    let folder = tempfile::tempdir_in(&kernels)
        .with_context(|| format!("making a folder in {}", kernels.display()))?;
    let package = package(folder.path())?;
    let contents = folder.path().join("contents");
    let step = Step::begin(format!("unpacking {name}"));
    exec::watched(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&contents), &step, LIMIT)
        .map_err(|failure| anyhow!("{}: {}", package.display(), failure.report()))?;
    let boot = contents.join("boot");
    let found = with_prefix(&boot, "vmlinuz-").with_context(|| format!("reading {}", package.display()))?;
    let Some(found) = found else {
        bail!(
            "{name} has no /boot/vmlinuz-…, perhaps it only depends on a package that has; next step: name one of\n  {}",
            offers().join("\n  ")
        );
    };
    fs::rename(&found, &image).with_context(|| format!("keeping {}", image.display()))?;
    step.done();
    Ok(image)
}

fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let step = Step::begin(format!("downloading {package}"));
    let mut command = Command::new("apt-get");
    command.args(["download", package]).args(apt::OPTIONS).current_dir(folder);
    exec::watched(&mut command, &step, LIMIT)
        .map_err(|failure| anyhow!("{}\nnext step: sudo apt-get update", failure.report()))?;
    let file = with_prefix(folder, package)?.ok_or_else(|| anyhow!("apt-get downloaded no {package}"))?;
    step.done();
    Ok(file)
}

fn with_prefix(folder: &Path, prefix: &str) -> io::Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
