//! A word that several CPUs load and store at once, each time whole.

#[cfg(target_arch = "bpf")]
use core::{arch::asm, cell::UnsafeCell};
#[cfg(not(target_arch = "bpf"))]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 64 bits. LLVM's BPF back end has no relaxed atomic access below CPU version 4, though an aligned 8-byte load or store is
/// one: there it is a volatile access, on the host an atomic one.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Word(#[cfg(target_arch = "bpf")] UnsafeCell<u64>, #[cfg(not(target_arch = "bpf"))] AtomicU64);

#[cfg(target_arch = "bpf")]
impl Word {
    /// The value of one moment.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: aligned and alive; the volatile access is one instruction, which other CPUs see whole or not at all.
        unsafe { self.0.get().read_volatile() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: as in `load`.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Replaces the value if nobody has changed it; false: somebody has. An instruction of Linux 5.12.
    #[inline(always)]
    pub fn replace(&self, seen: u64, value: u64) -> bool {
        let before: u64;
        // SAFETY: as in `load`; the instruction has the comparison and the old value in r0.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({place} + 0, r0, {value})",
                place = in(reg) self.0.get(),
                value = in(reg) value,
                inout("r0") seen => before,
                options(nostack)
            );
        }
        before == seen
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Word {
    /// The value of one moment.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Replaces the value if nobody has changed it; false: somebody has.
    pub fn replace(&self, seen: u64, value: u64) -> bool {
        self.0.compare_exchange(seen, value, Relaxed, Relaxed).is_ok()
    }
}
