//! `cargo xtask dist`: what a host is given, as one archive whose layout fits below `/usr`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{build, exec, workspace};

/// Shells, and where each looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/gateway"),
    ("zsh", "share/zsh/site-functions/_gateway"),
    ("fish", "share/fish/vendor_completions.d/gateway.fish"),
];

const MANUAL: &str = "share/man/man1";

/// From the workspace, to where it goes. A folder goes whole.
const FILES: [(&str, &str); 8] = [
    ("docs/systemd/gateway-balance.service", "lib/systemd/system/gateway-balance.service"),
    ("docs/systemd/gateway-proxy@.service", "lib/systemd/system/gateway-proxy@.service"),
    ("docs/systemd/gateway.service", "lib/systemd/system/gateway.service"),
    ("docs/systemd/gateway.sysusers", "lib/sysusers.d/gateway.conf"),
    ("docs", "share/doc/gateway"),
    ("CHANGELOG.md", "share/doc/gateway/CHANGELOG.md"),
    ("LICENSE-MIT", "share/doc/gateway/LICENSE-MIT"),
    ("LICENSE-APACHE", "share/doc/gateway/LICENSE-APACHE"),
];

/// What `cargo xtask dist` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Writes `target/dist`: the tree, the archive of it, the checksums.
///
/// # Errors
/// What could not be built, copied or packed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => build::gateway()?,
    };
    let dist = workspace::root().join("target/dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    let name = format!("gateway-{}-linux-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let tree = dist.join(&name);
    fill(&tree, &binary)?;
    let archive = format!("{name}.tar.gz");
    pack(&dist, &name, &archive)?;
    sums(&dist, &archive)?;
    println!("{}", dist.join(&archive).display());
    Ok(())
}

/// The tree, with everything in it.
fn fill(tree: &Path, binary: &Path) -> Result<()> {
    let program = place(tree, "bin/gateway")?;
    copy(binary, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    for (from, to) in FILES {
        copy(&workspace::root().join(from), &place(tree, to)?)?;
    }
    for (shell, to) in COMPLETIONS {
        fs::write(place(tree, to)?, said(Command::new(&program).args(["completions", shell]))?)?;
    }
    said(Command::new(&program).arg("manual").arg(tree.join(MANUAL)))?;
    Ok(())
}

/// A path in the tree whose folder is there.
fn place(tree: &Path, to: &str) -> Result<PathBuf> {
    let path = tree.join(to);
    let folder = path.parent().context("a path without folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(path)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Its standard output.
fn said(command: &mut Command) -> Result<Vec<u8>> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// The same tree gives the same archive: names in order, nobody's files, one time for all.
fn pack(dist: &Path, name: &str, archive: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.current_dir(dist).args(["--create", "--file", archive, "--use-compress-program", "gzip -9n"]);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", name]);
    exec::shown(&mut tar)
}

/// `SHA256SUMS`, of the archive and of each file in it, as `sha256sum --check` reads them.
fn sums(dist: &Path, archive: &str) -> Result<()> {
    let mut files = Vec::new();
    list(dist, dist, &mut files)?;
    files.retain(|file| !file.ends_with(".tar.gz"));
    files.sort();
    files.insert(0, archive.to_owned());
    let sums = said(Command::new("sha256sum").current_dir(dist).arg("--").args(&files))?;
    fs::write(dist.join("SHA256SUMS"), sums).context("cannot write the checksums")
}

fn list(folder: &Path, below: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, below, files)?;
        } else {
            files.push(path.strip_prefix(below)?.display().to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_there_and_the_units_start_what_is_packed() {
        for (from, _) in FILES {
            assert!(workspace::root().join(from).exists(), "{from}");
        }
        for (from, to) in FILES.into_iter().filter(|(_, to)| to.starts_with("lib/systemd")) {
            let unit = fs::read_to_string(workspace::root().join(from)).unwrap();
            let starts = unit.lines().filter(|line| line.starts_with("ExecStart="));
            assert!(
                starts.clone().count() == 1 && starts.into_iter().all(|l| l.contains("=/usr/bin/gateway ")),
                "{to}"
            );
        }
    }

    #[test]
    fn a_tree_has_program_units_completions_pages_and_documents_and_its_sums_are_right() {
        let folder = tempfile::tempdir().unwrap();
        // One that says something whatever it is asked.
        let program = folder.path().join("program");
        fs::write(
            &program,
            "#!/bin/sh\n[ \"$1\" = manual ] && mkdir -p \"$2\" && : > \"$2/gateway.1\"\necho \"$@\"\n",
        )
        .unwrap();
        let mut mode = fs::metadata(&program).unwrap().permissions();
        mode.set_mode(0o755);
        fs::set_permissions(&program, mode).unwrap();
        let dist = folder.path().join("dist");
        fill(&dist.join("gateway"), &program).unwrap();
        pack(&dist, "gateway", "gateway.tar.gz").unwrap();
        sums(&dist, "gateway.tar.gz").unwrap();
        let listed = said(Command::new("tar").current_dir(&dist).args(["tzf", "gateway.tar.gz"])).unwrap();
        let listed = String::from_utf8(listed).unwrap();
        for file in [
            "bin/gateway",
            "lib/systemd/system/gateway-proxy@.service",
            "lib/sysusers.d/gateway.conf",
            "share/bash-completion/completions/gateway",
            "share/man/man1/gateway.1",
            "share/doc/gateway/examples/external.toml",
            "share/doc/gateway/examples/internal.toml",
            "share/doc/gateway/examples/none.toml",
            "share/doc/gateway/alerts/gateway.rules.yml",
            "share/doc/gateway/LICENSE-MIT",
        ] {
            assert!(listed.contains(&format!("gateway/{file}\n")), "{file} in\n{listed}");
        }
        said(Command::new("sha256sum").current_dir(&dist).args(["--check", "--strict", "SHA256SUMS"]))
            .unwrap();
    }
}
