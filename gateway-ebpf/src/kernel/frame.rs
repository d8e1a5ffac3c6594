//! A packet between `data` and `data_end`.

use aya_ebpf::bindings::xdp_md;

use crate::frame::{Frame, Pod};

/// The ends are read once: they only change when the packet grows or shrinks at the front.
pub(super) struct XdpFrame {
    data: usize,
    data_end: usize,
    length: usize,
}

impl XdpFrame {
    #[inline(always)]
    pub(super) fn new(context: *const xdp_md) -> Self {
        // SAFETY: the kernel hands every XDP program a valid context.
        let data = || unsafe { (&raw const (*context).data).read_volatile() } as usize;
        // SAFETY: likewise.
        let data_end = || unsafe { (&raw const (*context).data_end).read_volatile() } as usize;
        // The length is made from readings of its own. LLVM would else conclude from a comparison of lengths that a pointer is
        // inside the packet, and leave out the very comparison that the verifier wants to see.
        Self { data: data(), data_end: data_end(), length: data_end() - data() }
    }

    /// The verifier follows a *pointer* that is compared with `data_end`, never an offset compared with a length.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let place = self.data + offset;
        if place + size_of::<T>() > self.data_end { None } else { Some(place as *mut T) }
    }
}

impl Frame for XdpFrame {
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
}
