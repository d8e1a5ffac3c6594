//! What the kernel's verifier makes of the programs.

use aya::util::KernelVersion;
use gateway_userspace::dataplane::snat::Snat;

/// Instructions that the verifier may process: a quarter more than it does today. The kernel's limit is a million.
const BUDGETS: [(&str, u32); 3] =
    [("gateway_snat_in", 106_000), ("gateway_snat_out", 51_000), ("gateway_snat_new", 324_000)];
/// The kernel of the budgets: each verifier counts its own way.
const BUDGETED: KernelVersion = KernelVersion::new(6, 18, 0);

#[test]
fn the_verifier_accepts_the_programs_within_their_budgets() {
    let mut snat = Snat::load().unwrap();
    for (name, info) in snat.programs().unwrap() {
        let Some(processed) = info.verified_instruction_count() else { continue };
        println!("{name}: {processed} verified instructions, {} bytes of machine code", info.size_jitted());
        if KernelVersion::current().unwrap() < BUDGETED {
            continue;
        }
        let (_, budget) = BUDGETS.into_iter().find(|(of, _)| *of == name).unwrap();
        assert!(processed <= budget, "{name}: {processed} instructions are more than {budget}");
    }
}
