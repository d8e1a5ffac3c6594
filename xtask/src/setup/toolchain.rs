//! A Rust toolchain for the kernel programs: one with rust-src, because `core` is built for BPF from source, and with an LLVM for
//! which bpf-linker can be built.
//!
//! Taken is what is named, else what is there, else what the distribution has, and only then what rustup downloads: where a
//! distribution has such a Rust nothing comes from beside its signed packages, and the user's own toolchains stay as they are.

use std::{fs, time::Duration};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    Mode, Setup, apt, linker,
    rustup::{self, Toolchain},
};
use crate::{console::Step, exec::Failure, workspace};

/// Names a rustup toolchain to use whatever else is there.
const VARIABLE: &str = "GATEWAY_BPF_TOOLCHAIN";
/// Debian's Rust for building browsers: the newest in a stable release, and it has the library's sources.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];
/// Under which rustup knows the distribution's toolchain.
const LINK: &str = "gateway-bpf";

/// Finds or brings the toolchain and writes its name where the build script reads it. `None` only in [`Mode::Tell`].
pub(super) fn ensure(setup: &mut Setup) -> Result<Option<Toolchain>> {
    if !rustup::is_here() {
        bail!(
            "rustup is not there, and it is what runs a second toolchain beside yours; next step: install it, https://rustup.rs"
        );
    }
    let found = match std::env::var(VARIABLE) {
        Ok(name) => Some(named(setup, &name)?),
        Err(_) => recorded(setup).or_else(|| present(setup)),
    };
    let toolchain = match (found, setup.mode) {
        (Some(toolchain), _) => toolchain,
        (None, Mode::Tell) => {
            tell(setup);
            return Ok(None);
        }
        (None, Mode::Bring) => bring(setup)?,
    };
    record(setup, &toolchain)?;
    Ok(Some(toolchain))
}

fn named(setup: &mut Setup, name: &str) -> Result<Toolchain> {
    check(setup, name).map_err(|lack| {
        anyhow!("{VARIABLE} names the toolchain `{name}`, but {lack}; next step: name another (`rustup toolchain list`), or unset it")
    })
}

/// The one that an earlier run chose.
fn recorded(setup: &mut Setup) -> Option<Toolchain> {
    let name = fs::read_to_string(workspace::bpf_toolchain_file()).ok()?;
    check(setup, name.trim()).ok()
}

/// Any that rustup has already.
fn present(setup: &mut Setup) -> Option<Toolchain> {
    rustup::toolchains().iter().find_map(|name| check(setup, name).ok())
}

fn check(setup: &mut Setup, name: &str) -> Result<Toolchain, String> {
    let toolchain = rustup::inspect(name)?;
    if setup.llvm_for(toolchain.llvm).is_none() {
        return Err(linker::no_llvm(toolchain.llvm));
    }
    Ok(toolchain)
}

fn tell(setup: &mut Setup) {
    let active = rustup::active().unwrap_or_else(|| "the active toolchain".into());
    setup.wants(&format!(
        "bring a Rust toolchain with rust-src, the first that works of: {} by apt-get, linked into rustup as `{LINK}`; rust-src for \
         {active} by rustup; nightly by rustup",
        PACKAGES.join(" "),
    ));
}

fn bring(setup: &mut Setup) -> Result<Toolchain> {
    setup.missing = true;
    let mut lacks = Vec::new();
    for way in [distribution, rust_src, nightly] {
        match way(setup) {
            Ok(toolchain) => return Ok(toolchain),
            Err(lack) => lacks.push(format!("{lack:#}")),
        }
    }
    bail!(
        "no Rust toolchain with rust-src could be had:\n  {}\nNext step: install one (`rustup toolchain install nightly --component \
         rust-src`, with a network), or name one that you have in {VARIABLE}",
        lacks.join("\n  ")
    )
}

/// The distribution's own, which rustup only learns the name of.
fn distribution(setup: &mut Setup) -> Result<Toolchain> {
    if !apt::is_here() {
        bail!("this is not Debian, of whose packages setup knows");
    }
    setup.refresh_lists();
    if let Some(package) = PACKAGES.into_iter().find(|package| apt::version(package).is_none()) {
        bail!("this distribution has no package {package}");
    }
    // Looked at first, so that half a gigabyte is not installed for nothing.
    let compiler = PACKAGES[0];
    let version = apt::version(compiler).unwrap_or_default();
    if !rustup::is_new_enough(&version) {
        bail!("this distribution's {compiler} is {version}, and {} is needed", rustup::NEEDED);
    }
    setup.install(&PACKAGES, "a Rust that has its library's sources").inspect_err(|_| {
        eprintln!("the distribution's {} cannot be installed; trying what rustup has", PACKAGES.join(" "));
    })?;
    attempt(setup, &format!("linking the distribution's Rust into rustup as `{LINK}`"), LINK, |step| {
        rustup::link_usr(LINK, step)
    })
}

/// Adds the sources to the toolchain in use: they fit it, and nothing else of it changes.
fn rust_src(setup: &mut Setup) -> Result<Toolchain> {
    let name = rustup::active().context("rustup has no active toolchain")?;
    add_sources(setup, &name)
}

/// A nightly that is there gets the sources and is not updated: somebody may rely on the one they have.
fn nightly(setup: &mut Setup) -> Result<Toolchain> {
    // `nightly` with the host's triple behind it, but not one of a fixed date, `nightly-2026-05-20-…`.
    let is_nightly = |name: &String| {
        let rest = name.strip_prefix("nightly");
        rest.is_some_and(|rest| !rest.starts_with("-2"))
    };
    let installed = rustup::toolchains().into_iter().find(is_nightly);
    if let Some(name) = installed {
        return add_sources(setup, &name);
    }
    let arguments = [
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
        "--no-self-update",
    ];
    attempt(setup, "nightly Rust with rust-src by rustup", "nightly", |step| {
        rustup::fetch(&arguments, Duration::from_mins(10), step)
    })
}

fn add_sources(setup: &mut Setup, name: &str) -> Result<Toolchain> {
    let arguments = ["component", "add", "rust-src", "--toolchain", name];
    attempt(setup, &format!("rust-src for {name} by rustup"), name, |step| {
        rustup::fetch(&arguments, Duration::from_mins(2), step)
    })
}

/// One try, told in one line, and what came of it looked at.
fn attempt(
    setup: &mut Setup,
    title: &str,
    name: &str,
    work: impl FnOnce(&Step) -> Result<(), Failure>,
) -> Result<Toolchain> {
    let step = Step::begin(title);
    if let Err(failure) = work(&step) {
        let reason = failure.telling_line();
        step.gave_up(&reason);
        bail!("{title}: {reason}");
    }
    step.done();
    check(setup, name).map_err(|lack| {
        eprintln!("{name} does not do: {lack}");
        anyhow!("{name}: {lack}")
    })
}

fn record(setup: &mut Setup, toolchain: &Toolchain) -> Result<()> {
    let file = workspace::bpf_toolchain_file();
    let line = format!("{}\n", toolchain.name);
    if fs::read_to_string(&file).is_ok_and(|there| there == line) {
        return Ok(());
    }
    if setup.wants(&format!("compile the kernel programs with the rustup toolchain `{}`", toolchain.name)) {
        fs::create_dir_all(workspace::tools())
            .and_then(|()| fs::write(&file, line))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
