//! Access to a packet, by value and bounds-checked.

/// Plain data that may be read from any bytes and written as its bytes.
///
/// # Safety
/// Every bit pattern is a valid value and there is no padding.
pub unsafe trait Pod: Copy {}

// SAFETY: an integer has no padding and no invalid pattern.
unsafe impl Pod for u8 {}
// SAFETY: as above.
unsafe impl Pod for u16 {}
// SAFETY: as above.
unsafe impl Pod for u32 {}
// SAFETY: as above.
unsafe impl Pod for u64 {}

/// A packet from its link-layer header on.
///
/// Values go in and out by copy and no pointer is handed out, so none can go stale; on the host it is all safe code.
/// Offsets are in bytes and below 64 KiB, which is as far as the verifier follows a packet pointer.
pub trait Frame {
    /// Bytes in the frame.
    fn length(&self) -> usize;

    /// The value at `offset`, or `None` where the frame ends before.
    fn read<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Writes at `offset`; `None`, and nothing written, where the frame ends before.
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Puts `bytes` of any content in front; `None`, and nothing changed, where there is no room. `bytes` is a multiple of 4.
    fn grow(&mut self, bytes: usize) -> Option<()>;
}

/// A frame that can get smaller too.
pub trait Shrink: Frame {
    /// Takes `bytes` away from the front; `None`, and nothing changed, where fewer than an Ethernet header would be left.
    fn shrink(&mut self, bytes: usize) -> Option<()>;

    /// Cuts it off behind `length` bytes; `None`, and nothing changed, where it is shorter than that.
    fn truncate(&mut self, length: usize) -> Option<()>;
}
