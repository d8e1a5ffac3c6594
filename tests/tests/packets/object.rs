//! The kernel object by itself: it loads, within a budget.

use super::targets::{Kernel, desired, model};

/// Instructions that the verifier may process: a quarter more than it does today. The kernel's limit is a million.
const BUDGETS: [(&str, u32); 4] =
    [("gateway", 100_000), ("gateway_slow", 220_000), ("gateway_finish", 100_000), ("gateway_sample", 6_000)];

#[test]
fn the_verifier_accepts_the_program_within_its_budget() {
    let mut kernel = Kernel::new(&desired(model()));
    for (name, info) in kernel.dataplane.programs().unwrap() {
        let processed = info.verified_instruction_count().expect("kernel 5.16 or newer counts them");
        println!("{name}: {processed} verified instructions, {} bytes of machine code", info.size_jitted());
        let (_, budget) = BUDGETS.into_iter().find(|(of, _)| *of == name).unwrap();
        assert!(processed <= budget, "{name}: {processed} instructions are more than {budget}");
    }
}
