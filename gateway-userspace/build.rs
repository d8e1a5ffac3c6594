//! Builds the kernel object with the BPF toolchain that `cargo xtask setup` brought, and hands it to the binary.
//!
//! - `GATEWAY_BPF_TOOLCHAIN`: the rustup toolchain to use; default: the one that set-up wrote to `target/tools/bpf-toolchain`.
//! - `GATEWAY_BPF_SKIP=1`: no object (an empty one), for linting where there is no such toolchain.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

const TARGET: &str = "bpfel-unknown-none";

fn main() {
    println!("cargo::rerun-if-env-changed=GATEWAY_BPF_TOOLCHAIN");
    println!("cargo::rerun-if-env-changed=GATEWAY_BPF_SKIP");
    if let Err(what) = object() {
        eprintln!("gateway: the kernel object was not built: {what}");
        eprintln!("gateway: `cargo xtask setup` brings what is missing");
        exit(1);
    }
}

fn object() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let object = out.join("gateway-ebpf.o");
    if env::var_os("GATEWAY_BPF_SKIP").is_some_and(|value| value == "1") {
        return fs::write(&object, []).map_err(|error| format!("{}: {error}", object.display()));
    }
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("the package has no parent folder")?;
    let source = workspace.join("gateway-ebpf");
    let tools = workspace.join("target/tools");
    for input in [
        &source.join("src"),
        &source.join("Cargo.toml"),
        &workspace.join("Cargo.lock"),
        &tools.join("bpf-toolchain"),
    ] {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let built = build(&source, &tools, &workspace.join("target/bpf"))?;
    fs::copy(&built, &object).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

/// All profiles share one target folder: `core` is built once.
fn build(source: &Path, tools: &Path, target: &Path) -> Result<PathBuf, String> {
    let toolchain = match env::var("GATEWAY_BPF_TOOLCHAIN") {
        Ok(name) => name,
        Err(_) => {
            let file = tools.join("bpf-toolchain");
            let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            text.trim().to_owned()
        }
    };
    let mut rustflags = OsString::from("-Clinker=");
    rustflags.push(tools.join("bin/bpf-linker"));
    for flag in [
        "-Clink-arg=--btf",
        // 32-bit arithmetic and comparisons; every kernel since 5.1 has them.
        "-Ctarget-cpu=v3",
        // Unaligned fields as single loads: 3 to 7 ns a packet.
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ] {
        rustflags.push("\x1f");
        rustflags.push(flag);
    }
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", &toolchain, "cargo", "build", "--release", "--bins", "-Z", "build-std=core"])
        .args(["--target", TARGET, "--package", "gateway-ebpf"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(source)
        // `build-std` on a compiler that calls itself stable.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false");
    // What the outer cargo sets for its own compiler would be taken for this one's.
    for name in [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "CARGO",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|error| format!("rustup run {toolchain} cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo of toolchain `{toolchain}`: {status}"));
    }
    Ok(target.join(TARGET).join("release/gateway-ebpf"))
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set"))
}
