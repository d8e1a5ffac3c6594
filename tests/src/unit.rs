//! The units of `docs/systemd`, and a process as such a unit starts it: not root, with the unit's capabilities and no others,
//! `/run` and bpffs of its own, which root has prepared as the unit has it done.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::gateway::binary;

/// Nobody's, on every system.
const USER: u32 = 65_534;

/// In a mount namespace of its own: a folder and a bpffs that the user may write, as RuntimeDirectory= and ExecStartPre= make them.
const PREPARE: &str = "\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /run
install -d -o $0 -g $0 -m 0750 /run/gateway
mount -t bpf -o mode=0711 bpf /sys/fs/bpf
install -d -o $0 -g $0 -m 0700 /sys/fs/bpf/gateway
exec \"$@\"";

/// A unit of `docs/systemd`.
#[derive(Debug, Clone)]
pub struct Unit {
    text: String,
}

impl Unit {
    /// `gateway-balance.service` and so on.
    ///
    /// # Errors
    /// There is none.
    pub fn read(name: &str) -> anyhow::Result<Self> {
        let path = folder().join(name);
        Ok(Self {
            text: fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?,
        })
    }

    /// What it says by this key, once or several times.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// The capabilities that its process has.
    pub fn capabilities(&self) -> Vec<&str> {
        self.values("AmbientCapabilities").flat_map(str::split_whitespace).collect()
    }
}

/// Where the units are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd")
}

/// `gateway COMMAND` as nobody, with these capabilities alone. What is in `folder`, the lab's, is that user's from now on, with a
/// copy of the program: where the workspace is, not everyone may go.
///
/// # Errors
/// The folder cannot be given away.
pub fn unprivileged(command: &str, capabilities: &[&str], folder: &Path) -> anyhow::Result<Command> {
    let program = folder.join("gateway");
    if !program.exists() {
        fs::copy(binary()?, &program).context("cannot copy the program")?;
    }
    give(folder)?;
    let set = capabilities.iter().fold("-all".to_owned(), |set, name| {
        format!("{set},+{}", name.trim_start_matches("CAP_").to_lowercase())
    });
    let user = USER.to_string();
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", PREPARE, &user]);
    wrapped.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    wrapped.args(["--pdeathsig", "KILL", "--inh-caps", &set, "--ambient-caps", &set, "--bounding-set", &set]);
    wrapped.arg("--").arg(program).arg(command);
    Ok(wrapped)
}

fn give(path: &Path) -> anyhow::Result<()> {
    chown(path, Some(USER), Some(USER)).with_context(|| format!("cannot give away {}", path.display()))?;
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            give(&entry?.path())?;
        }
    }
    Ok(())
}
