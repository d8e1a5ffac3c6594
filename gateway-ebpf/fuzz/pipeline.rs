//! `cargo +nightly fuzz run pipeline`: looks for a frame that breaks an invariant of the pipeline.
#![no_main]

mod invariants;
mod seen;
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::check(input));
