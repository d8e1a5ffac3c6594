//! Another version of the kernel object.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The next version: a program of another id and tag that does the same. Somewhere in it a 64-bit move of a small number is made
/// a 32-bit one.
pub(crate) fn version(folder: &Path) -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bpfel-unknown-none/release/gateway-ebpf");
    let mut object = fs::read(built).unwrap();
    // `r0 = 2`, XDP_PASS: BPF_ALU64 | BPF_MOV | BPF_K, and BPF_ALU of the same.
    let (long, short) = ([0xb7, 0, 0, 0, 2, 0, 0, 0], [0xb4, 0, 0, 0, 2, 0, 0, 0]);
    let places: Vec<_> = (0..object.len() / 8)
        .map(|at| at * 8)
        .filter(|&at| object[at..at + 8] == long || object[at..at + 8] == short)
        .collect();
    assert!(!places.is_empty(), "no such instruction");
    for at in places {
        let other = if object[at] == long[0] { short } else { long };
        object[at..at + 8].copy_from_slice(&other);
    }
    let path = folder.join("next.o");
    fs::write(&path, object).unwrap();
    path
}
