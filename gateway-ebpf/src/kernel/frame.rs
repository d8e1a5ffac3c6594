//! A packet between `data` and `data_end`.

use core::arch::asm;

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
};

use crate::frame::{Frame, Pod, Shrink};

/// The ends are read once: they only change when the packet grows or shrinks.
///
/// In the slow program offsets vary (`VARY`). There LLVM would leave out a comparison that follows from an earlier one, or compare
/// with one pointer and access by another: true, but the verifier has lost sight of it. So each offset comes out of a barrier.
pub(super) struct XdpFrame<const VARY: bool> {
    context: *mut xdp_md,
    data: usize,
    data_end: usize,
    length: usize,
}

impl<const VARY: bool> XdpFrame<VARY> {
    #[inline(always)]
    pub(super) fn new(context: *mut xdp_md) -> Self {
        // The length is made from readings of its own. LLVM would else conclude from a comparison of lengths that a pointer is
        // inside the packet, and leave out the very comparison that the verifier wants to see.
        let length = data_end(context) - data(context);
        Self { context, data: data(context), data_end: data_end(context), length }
    }

    /// The verifier follows a *pointer* that is compared with `data_end`, never an offset compared with a length.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let mut offset = offset;
        if VARY {
            // One instruction there has to be, or line numbers in BTF repeat, which the kernel refuses.
            // SAFETY: a move to where it is.
            unsafe { asm!("{0} = {0}", inout(reg) offset, options(pure, nomem, preserves_flags, nostack)) };
        }
        let place = self.data + offset;
        if place + size_of::<T>() > self.data_end { None } else { Some(place as *mut T) }
    }

    #[inline(always)]
    fn adjust_head(&mut self, bytes: i32) -> Option<()> {
        // SAFETY: the kernel's own context.
        let failed = unsafe { bpf_xdp_adjust_head(self.context, bytes) };
        // All pointers are void by this, whatever came of it.
        *self = Self::new(self.context);
        if failed == 0 { Some(()) } else { None }
    }
}

#[inline(always)]
fn data(context: *mut xdp_md) -> usize {
    // SAFETY: the kernel hands every XDP program a valid context.
    unsafe { (&raw const (*context).data).read_volatile() as usize }
}

#[inline(always)]
fn data_end(context: *mut xdp_md) -> usize {
    // SAFETY: as above.
    unsafe { (&raw const (*context).data_end).read_volatile() as usize }
}

impl<const VARY: bool> Frame for XdpFrame<VARY> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        // SAFETY: the bytes are inside the packet, and every pattern is a `T`.
        self.at::<T>(offset).map(|place| unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: the bytes are inside the packet, which this program may write.
        unsafe { place.write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        self.adjust_head(-(bytes as i32))
    }
}

impl<const VARY: bool> Shrink for XdpFrame<VARY> {
    #[inline(always)]
    fn shrink(&mut self, bytes: usize) -> Option<()> {
        self.adjust_head(bytes as i32)
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        let less = self.length.checked_sub(length)?;
        // SAFETY: the kernel's own context.
        let failed = unsafe { bpf_xdp_adjust_tail(self.context, -(less as i32)) };
        *self = Self::new(self.context);
        if failed == 0 { Some(()) } else { None }
    }
}
