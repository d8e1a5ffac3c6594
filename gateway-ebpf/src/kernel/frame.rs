//! A packet between `data` and `data_end`.

use aya_ebpf::bindings::xdp_md;

use crate::frame::{Frame, Pod};

/// Both ends are read once: they only change when the packet grows or shrinks at the front.
pub(super) struct XdpFrame {
    data: usize,
    data_end: usize,
}

impl XdpFrame {
    #[inline(always)]
    pub(super) fn new(context: *const xdp_md) -> Self {
        // SAFETY: the kernel hands every XDP program a valid context.
        let context = unsafe { &*context };
        Self { data: context.data as usize, data_end: context.data_end as usize }
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
        self.data_end - self.data
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
