//! `cargo +nightly fuzz run clients`: looks for bytes of a client that break an invariant of what reads them.
#![no_main]

mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::check(input));
