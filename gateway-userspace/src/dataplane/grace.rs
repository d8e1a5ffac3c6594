//! Waiting for the packets that are on their way.

use std::{thread, time::Duration};

/// `MEMBARRIER_CMD_GLOBAL` of the kernel's `linux/membarrier.h`.
const GLOBAL: libc::c_long = 1;
/// Where the kernel refuses, that is with `nohz_full`: some hundred times what a packet takes in all programs together.
const LONG: Duration = Duration::from_millis(100);

/// Returns when no program is at work any more that was when this was called, and so nothing that such a one found before is
/// in use: tables that are not active any more, programs that it would go on with.
///
/// An XDP program, with those that it goes on with, runs in one read-side critical section of RCU. This call of the kernel is
/// `synchronize_rcu()` (`kernel/sched/membarrier.c`), some 10 to 30 ms. With one CPU it returns at once, rightly: there no
/// program is half-way while this thread runs. It is not the expedited call, which interrupts each CPU but waits for nothing.
pub(super) fn wait() {
    // SAFETY: a system call of two numbers.
    let outcome = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0) };
    if outcome != 0 {
        thread::sleep(LONG);
    }
}
