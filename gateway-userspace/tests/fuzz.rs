//! The fuzzer's invariants, over its corpus and some mutations of it: what a stable compiler can do of `cargo fuzz`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path};

use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

#[path = "../fuzz/invariants.rs"]
mod invariants;

const MUTATIONS: usize = 20_000;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/clients");
    let mut inputs: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    inputs.sort_unstable();
    inputs
}

#[test]
fn the_invariants_hold_for_the_fuzzers_corpus() {
    let corpus = corpus();
    for reader in 0..6 {
        let inputs = corpus.iter().filter(|input| input[0] % 6 == reader).count();
        assert!(inputs >= 8, "{inputs} inputs for reader {reader}");
    }
    corpus.iter().for_each(|input| invariants::check(input));
}

#[test]
fn the_invariants_hold_for_mutations_of_the_corpus() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut bytes = [0xa5; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut below = |bound: usize| random.next_u32() as usize % bound.max(1);
    let corpus = corpus();
    for _ in 0..MUTATIONS {
        let mut input = corpus[below(corpus.len())].clone();
        for _ in 0..=below(4) {
            let at = 1 + below(input.len() - 1);
            match below(6) {
                0 => input.truncate(at.max(2)),
                1 => input.insert(at, below(256) as u8),
                2 => drop(input.splice(at..at, b"\r\n".iter().copied())),
                // A piece of another one of its kind.
                3 => {
                    let other = &corpus[below(corpus.len())];
                    let piece = other[1 + below(other.len() - 1)..].iter().take(below(16)).copied();
                    drop(input.splice(at..at, piece.collect::<Vec<_>>()));
                }
                _ if at < input.len() => input[at] = below(256) as u8,
                _ => {}
            }
        }
        let shown = input.clone();
        let held = std::panic::catch_unwind(|| invariants::check(&input));
        assert!(held.is_ok(), "seed {seed}: {:?}", String::from_utf8_lossy(&shown));
    }
}
