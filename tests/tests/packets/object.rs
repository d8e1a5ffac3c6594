//! The kernel object by itself: it loads, within a budget.

use super::targets::{Kernel, desired, model};

/// Instructions that the verifier may process: a quarter more than it does today. The kernel's limit is a million.
const BUDGET: u32 = 220_000;

#[test]
fn the_verifier_accepts_the_program_within_its_budget() {
    let mut kernel = Kernel::new(&desired(model()));
    let info = kernel.dataplane.program().unwrap().info().unwrap();
    let processed = info.verified_instruction_count().expect("kernel 5.16 or newer counts them");
    println!("verified instructions: {processed}; translated: {:?} bytes", info.size_translated());
    assert!(processed <= BUDGET, "{processed} instructions are more than {BUDGET}");
}
