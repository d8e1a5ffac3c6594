//! What user space is shown of dropped packets: the first of each scope, reason and CPU, and then one in [`SAMPLE_EVERY`].
//!
//! Copying a frame, and writing to the log, takes a program of its own: drops that are not shown pay for none of it.

use aya_ebpf::{
    EbpfContext as _, bindings::xdp_action, helpers::bpf_ktime_get_coarse_ns, programs::XdpContext,
};
use aya_log_ebpf::warn;

use super::{
    frame::XdpFrame,
    maps::{DUE, SAMPLES},
};
use crate::{
    address::Address,
    frame::Frame as _,
    headers::{Ipv4, Ipv6},
    layout::{About, SAMPLE_BYTES, SAMPLE_EVERY, Sample},
    parse,
    reason::Reason,
};

/// A drop that is to be shown: bits from 16 on the scope, from 8 on whether it is the first one, then the reason, which is never 0.
#[derive(Clone, Copy)]
pub(super) struct Due(u32);

impl Due {
    pub(super) const NONE: Self = Self(0);

    /// Of the `count`-th drop.
    #[inline(always)]
    pub(super) const fn new(scope: u16, reason: Reason, count: u64) -> Self {
        if count & (SAMPLE_EVERY - 1) != 1 {
            return Self::NONE;
        }
        Self((scope as u32) << 16 | ((count == 1) as u32) << 8 | reason as u32)
    }

    #[inline(always)]
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Leaves it to the program that shows it; `None`: there is no place.
    #[inline(always)]
    pub(super) fn leave(self) -> Option<()> {
        let place = DUE.get_ptr_mut(0)?;
        // SAFETY: this CPU's own, and an XDP program is not interrupted by itself.
        unsafe { *place = self.0 };
        Some(())
    }
}

/// Shows the frame at hand, which is dropped.
#[inline(always)]
pub fn sample(context: &XdpContext) -> u32 {
    let Some(&due) = DUE.get(0) else { return xdp_action::XDP_DROP };
    let (scope, is_first, reason) = ((due >> 16) as u16, due >> 8 & 1 != 0, due as u8);
    // Frames of their own for log and copy: one for both would go through the stack, and LLVM stores 32 bits of a pointer there.
    let frame = || XdpFrame::<true>::new(context.as_ptr().cast());
    if is_first {
        // User space puts names to the numbers.
        let source = source(&frame());
        warn!(context, "drop scope={} reason={} hi={} lo={}", scope, reason, source.hi, source.lo);
    }
    // Nobody has read for long: this one is not shown.
    let Some(mut entry) = SAMPLES.reserve::<Sample>(0) else { return xdp_action::XDP_DROP };
    // SAFETY: a helper without arguments (kernel 5.11).
    let time = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: the kernel hands every XDP program a valid context.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    let sample = entry.as_mut_ptr();
    let frame = frame();
    // SAFETY: the reserved entry.
    let captured = copy(&frame, unsafe { (&raw mut (*sample).headers).cast() });
    let length = frame.length() as u32;
    // SAFETY: as above.
    unsafe {
        (&raw mut (*sample).about).write(About { time, interface, length, captured, scope, reason, pad: 0 })
    };
    entry.submit(0);
    xdp_action::XDP_DROP
}

/// Copies what the frame has of the first [`SAMPLE_BYTES`], and tells how many.
#[inline(always)]
fn copy(frame: &XdpFrame<true>, place: *mut u8) -> u32 {
    const WORD: usize = size_of::<u64>();
    let mut copied = 0;
    while copied < SAMPLE_BYTES {
        let Some(word) = frame.read::<u64>(copied) else { break };
        // SAFETY: below `SAMPLE_BYTES`, which are whole words.
        unsafe { place.add(copied).cast::<u64>().write_unaligned(word) };
        copied += WORD;
    }
    if copied == SAMPLE_BYTES {
        return copied as u32;
    }
    for _ in 1..WORD {
        let Some(byte) = frame.read::<u8>(copied) else { break };
        // SAFETY: of the word that did not fit, so below `SAMPLE_BYTES` too; the mask tells the verifier.
        unsafe { place.add(copied & (SAMPLE_BYTES - 1)).write(byte) };
        copied += 1;
    }
    copied as u32
}

/// Whom a frame is from: read again, so that a packet on its way does not carry it.
#[inline(always)]
fn source(frame: &XdpFrame<true>) -> Address {
    match parse::link::<_, true>(frame, 1) {
        Ok(link) if link.ethertype == parse::IPV4 => {
            frame.read::<Ipv4>(link.end).map(|header| header.source())
        }
        Ok(link) if link.ethertype == parse::IPV6 => {
            frame.read::<Ipv6>(link.end).map(|header| header.source())
        }
        _ => None,
    }
    .unwrap_or_default()
}
