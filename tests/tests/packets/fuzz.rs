//! The fuzzer's invariants, over its corpus and some mutations of it: what a stable compiler can do of `cargo fuzz`.

use std::{fs, path::Path};

use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

#[path = "../../../gateway-ebpf/fuzz/invariants.rs"]
mod invariants;
#[path = "../../../gateway-ebpf/fuzz/seen.rs"]
mod seen;
#[path = "../../../gateway-ebpf/fuzz/world.rs"]
mod world;

const MUTATIONS: usize = 20_000;

fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = fs::read_dir(root.join("gateway-ebpf/fuzz/corpus/pipeline")).unwrap();
    let mut inputs: Vec<_> = folder.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    inputs.sort_unstable();
    inputs
}

#[test]
fn the_invariants_hold_for_the_fuzzers_corpus() {
    let corpus = corpus();
    assert!(corpus.len() > 100, "only {} inputs", corpus.len());
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
            match below(6) {
                0 => input.truncate(below(input.len()) + 1),
                1 => input.resize(input.len() + below(40), 0),
                2 => input[0] = below(256) as u8,
                _ => {
                    let at = below(input.len().min(120));
                    input[at] = below(256) as u8;
                }
            }
        }
        let shown = input.clone();
        let held = std::panic::catch_unwind(|| invariants::check(&input));
        assert!(held.is_ok(), "seed {seed}: {shown:02x?}");
    }
}
