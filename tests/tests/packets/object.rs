//! The kernel object by itself: it loads, within a budget.

use aya::util::KernelVersion;
use gateway_userspace::dataplane::{Decapsulation, Direction};

use super::targets::{Kernel, desired, model};

/// Instructions that the verifier may process: a quarter more than it does today. The kernel's limit is a million.
const BUDGETS: [(&str, u32); 8] = [
    ("gateway", 67_000),
    ("gateway_slow", 171_000),
    ("gateway_finish", 159_000),
    ("gateway_reply", 99_000),
    ("gateway_sample", 5_700),
    ("gateway_decap", 197_000),
    ("gateway_arrive", 500),
    ("gateway_leave", 2_100),
];

/// The kernel of the budgets: each verifier counts its own way.
const BUDGETED: KernelVersion = KernelVersion::new(6, 18, 0);
/// The first kernel that says how many it has processed.
const COUNTS: KernelVersion = KernelVersion::new(5, 16, 0);

#[test]
fn the_verifier_accepts_the_program_within_its_budget() {
    let mut kernel = Kernel::new(&desired(model()));
    let mut instance = Decapsulation::load().unwrap();
    let mut programs = kernel.dataplane.programs().unwrap();
    programs.insert(0, ("gateway_decap", instance.info().unwrap()));
    kernel.dataplane.connections().unwrap();
    for direction in Direction::ALL {
        programs.push((direction.program(), kernel.dataplane.classifier(direction).unwrap().info().unwrap()));
    }
    for (name, info) in programs {
        let Some(processed) = info.verified_instruction_count() else {
            let running = KernelVersion::current().unwrap();
            assert!(running < COUNTS, "{name}: {running} gives no count, and kernels do since {COUNTS}");
            println!("{name}: accepted by {running}, which does not count what it verifies");
            continue;
        };
        println!("{name}: {processed} verified instructions, {} bytes of machine code", info.size_jitted());
        if KernelVersion::current().unwrap() < BUDGETED {
            continue;
        }
        let (_, budget) = BUDGETS.into_iter().find(|(of, _)| *of == name).unwrap();
        assert!(processed <= budget, "{name}: {processed} instructions are more than {budget}");
    }
}
