//! bpf-linker, built against an LLVM that is at least the compiler's: an older one cannot read its bitcode.

use std::{collections::HashMap, fs, path::PathBuf, process::Command};

use anyhow::{Result, anyhow};

use super::{Setup, apt, rustup::Toolchain};
use crate::{
    exec,
    tools::{self, Tool},
    workspace,
};

const NAME: &str = "bpf-linker";

/// The version that the kernel programs are built with.
const VERSION: &str = "0.13.0";
/// The LLVMs that this version can be built against.
const LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// Where an LLVM's libraries and headers are, or would be.
fn prefix(llvm: u32) -> PathBuf {
    // The same variable that bpf-linker's own build reads.
    std::env::var_os("LLVM_PREFIX").map_or_else(|| format!("/usr/lib/llvm-{llvm}").into(), PathBuf::from)
}

fn is_installed(llvm: u32) -> bool {
    let config = prefix(llvm).join("bin/llvm-config");
    let version = exec::ask(Command::new(config).arg("--version")).unwrap_or_default();
    version.split('.').next() == Some(&llvm.to_string())
        && prefix(llvm).join("include/llvm-c/Core.h").exists()
}

/// What to say of a toolchain whose LLVM is too new.
pub(super) fn no_llvm(needed: u32) -> String {
    format!(
        "its LLVM is {needed}, and neither is LLVM {needed} (to {}) installed with its headers nor has the distribution llvm-{needed}-dev",
        LLVMS.end()
    )
}

impl Setup {
    /// The LLVM to link with for a compiler that has `needed`: the linker's, if it is built; else one that is installed; else
    /// one that the distribution has.
    pub(super) fn llvm_for(&mut self, needed: u32) -> Option<u32> {
        let mut fitting = LLVMS.filter(|llvm| *llvm >= needed);
        let at_hand = built_against()
            .filter(|llvm| *llvm >= needed)
            .or_else(|| fitting.clone().find(|llvm| is_installed(*llvm)));
        at_hand.or_else(|| {
            self.refresh_lists();
            fitting.find(|llvm| apt::is_here() && apt::has(&format!("llvm-{llvm}-dev")))
        })
    }
}

/// Brings LLVM's packages and the linker.
pub(super) fn ensure(setup: &mut Setup, toolchain: Option<&Toolchain>) -> Result<()> {
    let Some(toolchain) = toolchain else {
        setup.wants(&format!(
            "install LLVM's libraries, of the toolchain's version, and build bpf-linker {VERSION}"
        ));
        return Ok(());
    };
    let llvm = setup.llvm_for(toolchain.llvm).ok_or_else(|| anyhow!(no_llvm(toolchain.llvm)))?;
    if built_against() == Some(llvm) {
        return Ok(());
    }
    if apt::is_here() {
        let [llvm_dev, polly_dev] = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        setup.install(
            &[&llvm_dev, &polly_dev, "zlib1g-dev", "libzstd-dev"],
            "LLVM's libraries, for bpf-linker",
        )?;
    }
    let options = ["--no-default-features", "--features", &format!("llvm-{llvm}")];
    let linker = Tool::new(NAME, VERSION, &options).env("LLVM_PREFIX", prefix(llvm));
    if setup.wants(&format!("run {}", linker.command_line())) {
        linker.build()?;
    }
    Ok(())
}

/// The LLVM that the linker which is there was built against, by what cargo noted of its features.
fn built_against() -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Notes {
        installs: HashMap<String, Install>,
    }
    #[derive(serde::Deserialize)]
    struct Install {
        features: Vec<String>,
    }
    let json = fs::read(workspace::tools().join(".crates2.json")).ok()?;
    let notes: Notes = serde_json::from_slice(&json).ok()?;
    let (_, install) = notes.installs.iter().find(|(package, _)| package.split(' ').next() == Some(NAME))?;
    let llvm = install.features.iter().find_map(|feature| feature.strip_prefix("llvm-")?.parse().ok())?;
    tools::starts(NAME, VERSION).then_some(llvm)
}
