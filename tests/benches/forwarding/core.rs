//! One core, and nobody else on it meanwhile.

use std::{io, mem};

use anyhow::Context;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The last one: interrupts and everybody else's habits favour the first.
pub(crate) fn number() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1) as usize - 1
}

/// Keeps the calling thread, and the softirqs it raises, on that core, ahead of everything else there.
///
/// # Errors
/// No privileges.
pub(crate) fn take() -> anyhow::Result<()> {
    stay()?;
    // SAFETY: all zero is a valid sched_param.
    let mut parameters: libc::sched_param = unsafe { mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: the pointer is to a whole sched_param; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("no real-time priority for the measuring thread"),
    }
}

/// Keeps the calling thread on that core.
///
/// # Errors
/// There is no such core.
pub(crate) fn stay() -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(number())?;
    sched_setaffinity(Pid::from_raw(0), &cores).context("cannot stay on one core")
}
