//! A packet of the host's stack, as programs of TC have it: what of it lies in one piece, between `data` and `data_end`.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_pull_data};

/// The piece, and the packet that it is of.
pub(super) struct Skb {
    pub(super) context: *mut __sk_buff,
    pub(super) data: usize,
    pub(super) data_end: usize,
}

impl Skb {
    /// As it comes.
    #[inline(always)]
    pub(super) fn new(context: *mut __sk_buff) -> Self {
        let mut skb = Self { context, data: 0, data_end: 0 };
        skb.refresh();
        skb
    }

    /// All pointers are void after a helper that changes the packet.
    #[inline(always)]
    pub(super) fn refresh(&mut self) {
        // SAFETY: the kernel hands every program of TC a valid context.
        unsafe {
            self.data = (&raw const (*self.context).data).read_volatile() as usize;
            self.data_end = (&raw const (*self.context).data_end).read_volatile() as usize;
        }
    }

    /// Has so many bytes lie in one piece, or all that there are: a driver may leave headers in pages of their own.
    #[inline(always)]
    pub(super) fn pull(&mut self, wanted: usize) {
        let length = self.length();
        let headers = if length < wanted { length } else { wanted };
        if self.data + headers > self.data_end {
            // SAFETY: the kernel's own context.
            unsafe { bpf_skb_pull_data(self.context, headers as u32) };
            self.refresh();
        }
    }

    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        // SAFETY: the kernel hands every program of TC a valid context.
        unsafe { (*self.context).len as usize }
    }
}
