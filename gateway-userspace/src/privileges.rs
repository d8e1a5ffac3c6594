//! What a process may do, and gives up once it has done it (R91).

use caps::{CapSet, Capability, errors::CapsError};

/// The last is each of the others to the kernel.
const OF_BPF: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN];

/// Whether this thread may make maps and load programs.
///
/// # Errors
/// The kernel does not tell.
pub fn may_load_bpf() -> Result<bool, CapsError> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability);
    let [bpf, perfmon, admin] = OF_BPF;
    Ok(has(admin)? || has(bpf)? && has(perfmon)?)
}

/// Takes from this thread, and from those that it starts from now on, what makes maps and loads programs. Those that are there
/// stay as usable as they were, by their descriptors.
///
/// # Errors
/// The kernel refuses, which it does not do to a thread that asks for less.
pub fn give_up_bpf() -> Result<(), CapsError> {
    // What is inherited first: it can come back from there at the next exec.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        for capability in OF_BPF {
            caps::drop(None, set, capability)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r91_what_is_given_up_is_gone_from_this_thread_and_its_children() {
        std::thread::spawn(|| {
            give_up_bpf().unwrap();
            assert!(!may_load_bpf().unwrap());
            let has = |capability| {
                [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient]
                    .into_iter()
                    .any(|set| caps::has_cap(None, set, capability).unwrap())
            };
            assert!(!OF_BPF.into_iter().any(has));
            assert!(!std::thread::spawn(move || OF_BPF.into_iter().any(has)).join().unwrap());
        })
        .join()
        .unwrap();
    }
}
