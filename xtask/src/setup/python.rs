//! Clients that are Python packages, in an environment of their own below `target/tools`: the tests' outside suites, and axe-core,
//! which judges whether a page is accessible.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use super::Setup;
use crate::{console::Step, exec, workspace};

/// The packages, each in one version.
const REQUIREMENTS: &str = include_str!("../../../tests/tests/suites/requirements.txt");

fn folder() -> PathBuf {
    workspace::tools().join("python")
}

/// Says what is in the environment; written last.
fn mark() -> PathBuf {
    folder().join("requirements.txt")
}

/// Brings the environment, with Debian's package for making one where this Python cannot.
pub(super) fn ensure(setup: &mut Setup) -> Result<()> {
    let is_there = fs::read_to_string(mark()).is_ok_and(|found| found == REQUIREMENTS);
    let python = folder().join("bin/python");
    if is_there && exec::ask(Command::new(&python).arg("--version")).is_some() {
        return Ok(());
    }
    let makes_one =
        |python: &Path| exec::ask(Command::new(python).args(["-c", "import ensurepip, venv"])).is_some();
    let mut base = PathBuf::from("python3");
    if !makes_one(&base) {
        setup.install(&["python3-venv"], "an environment for the outside suites that are Python packages")?;
        // The one on the path may be another than the distribution's.
        base = "/usr/bin/python3".into();
    }
    let packages = REQUIREMENTS.split_whitespace().collect::<Vec<_>>().join(" ");
    if !setup.wants(&format!("make {} with {packages}, for the tests' outside suites", folder().display())) {
        return Ok(());
    }
    let step = Step::begin(format!("bringing {packages}"));
    let mut make = Command::new(base);
    make.args(["-m", "venv", "--clear"]).arg(folder());
    let mut install = Command::new(python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        // The list is whole, and some of what one of them asks for is of no use here.
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    install.args(REQUIREMENTS.split_whitespace());
    for command in [&mut make, &mut install] {
        let typed = exec::line(command);
        exec::watched(command, &step, Duration::from_mins(10))
            .map_err(|failure| anyhow!(failure.report()))
            .with_context(|| format!("next step: mend what it says and try\n    {typed}\n"))?;
    }
    fs::write(mark(), REQUIREMENTS).with_context(|| format!("cannot write {}", mark().display()))?;
    step.done();
    Ok(())
}
