//! Debian packages.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{Mode, Setup};
use crate::{console::Step, exec};

/// The limit of one apt-get call: LLVM is 150 MB packed, and a mirror may be slow.
const LIMIT: Duration = Duration::from_mins(20);

/// No answer in 20 s is none, and somebody else's apt run is waited for.
pub(super) const OPTIONS: [&str; 6] =
    ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "-o", "DPkg::Lock::Timeout=300"];

/// What is known of apt in this run.
#[derive(Debug, Default)]
pub(super) struct Apt {
    lists_are_fresh: bool,
}

/// Whether this is Debian or made from it.
pub(super) fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").exists() && Path::new("/usr/bin/dpkg-query").exists()
}

/// Those of `packages` that are not installed.
pub(super) fn missing<'p>(packages: &[&'p str]) -> Vec<&'p str> {
    // It fails when one is unknown, and still answers for the others.
    let answer = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let installed: HashSet<&str> =
        answer.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    packages.iter().copied().filter(|package| !installed.contains(package)).collect()
}

/// Whether the distribution has a package, by the lists as they are.
pub(super) fn has(package: &str) -> bool {
    version(package).is_some()
}

/// The version of a package that apt-get would install, by the lists as they are: `1.96.0+dfsg1-1~deb12u2`.
pub(super) fn version(package: &str) -> Option<String> {
    let shown = exec::ask(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
    shown.lines().find_map(|line| line.strip_prefix("Version:")).map(|version| version.trim().to_owned())
}

impl Setup {
    /// Fetches the lists of packages, once a run: only where something is missing, since it takes seconds. A repository that
    /// does not answer is no reason to stop: it need not be the one that has what is missing.
    pub(super) fn refresh_lists(&mut self) {
        let may = self.mode == Mode::Bring && is_here() && nix::unistd::geteuid().is_root();
        if !may || self.apt.lists_are_fresh {
            return;
        }
        self.apt.lists_are_fresh = true;
        let step = Step::begin("fetching the distribution's list of packages");
        match exec::watched(apt_get(&["update"]).args(OPTIONS), &step, LIMIT) {
            Ok(()) => step.done(),
            Err(failure) => step.gave_up(&failure.telling_line()),
        }
    }

    /// Installs those of `packages` that are missing.
    ///
    /// Recommended packages stay out, and no service is started.
    pub(super) fn install(&mut self, packages: &[&str], what_for: &str) -> Result<()> {
        let missing = missing(packages);
        if missing.is_empty() || !self.wants(&format!("install {} ({what_for})", missing.join(" "))) {
            return Ok(());
        }
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(&missing);
        let mut command = apt_get(&arguments);
        let typed = exec::line(&command);
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "{} missing ({what_for}), and installing needs root; next step:\n    sudo apt-get update && sudo {typed}\n\
                 and then the same command again",
                missing.join(" ")
            );
        }
        self.refresh_lists();
        let _no_services = NoServices::begin()?;
        let step = Step::begin(format!("installing {} ({what_for})", missing.join(" ")));
        exec::watched(command.args(OPTIONS).env("DEBIAN_FRONTEND", "noninteractive"), &step, LIMIT)
            .map_err(|failure| anyhow!(failure.report()))
            .with_context(|| {
                format!(
                    "next step: mend what apt-get says, try\n    {typed}\nand then the same command again"
                )
            })?;
        step.done();
        Ok(())
    }
}

/// What packages ask before they start a service (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While it lives, packages start no service. A policy that the machine has of its own is left to decide.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(POLICY) {
            // 101: the action is forbidden by policy.
            Ok(mut file) => file
                .write_all(b"#!/bin/sh\nexit 101\n")
                .map(|()| Self { ours: true })
                .with_context(|| format!("writing {POLICY}")),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("writing {POLICY}")),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("{POLICY} is still there: {error}; remove it, or no package will start its service");
        }
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_told_from_what_is_not() {
        if is_here() {
            assert_eq!(missing(&["dpkg", "no-such-package"]), ["no-such-package"]);
            assert!(version("dpkg").is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
            assert_eq!(version("no-such-package"), None);
        }
    }
}
