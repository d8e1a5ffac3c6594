//! What source NAT asks for: two maps of flows, the table, the clock, and counting.

use super::layout::{Count, Entry, Key, Table};
use crate::{frame::Frame, parse::IpHeader, reason::Reason, tables::NoteLine, word::Word};

/// Which map of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By [`Key::forward`].
    Forward,
    /// By [`Key::reverse`].
    Reverse,
}

/// Why an entry was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is one.
    Taken,
    /// The map is full, or the kernel has no memory.
    Full,
}

/// Access to what is shared by all CPUs. An entry is one [`Word`], which is changed by compare-and-exchange alone.
pub trait Flows {
    /// What the control plane decided.
    fn table(&self) -> Option<&Table>;
    /// An entry, if there is one.
    fn get(&self, way: Way, key: Key) -> Option<&Word>;
    /// Makes an entry where there is none.
    fn insert(&self, way: Way, key: Key, entry: Entry) -> Result<(), Refused>;
    /// Takes an entry out.
    fn remove(&self, way: Way, key: Key);
    /// A line of the table of datagrams that leave in fragments.
    fn fragments(&self, line: u32) -> Option<&NoteLine>;
    /// Nanoseconds since boot, to some milliseconds.
    fn now(&self) -> u64;
    /// Any number.
    fn random(&self) -> u32;
    /// Counts so many more.
    fn count(&self, count: Count, more: u64);
    /// Counts a drop.
    fn count_drop(&self, reason: Reason);
    /// Whether within this tick no port was found for a destination: [`Key::forward`] with port 0.
    fn is_exhausted(&self, destination: Key, now: u32) -> bool;
    /// Tells user space that for a destination no port was found.
    fn exhausted(&self, destination: Key, now: u32);
}

/// A packet whose checksums may not be finished: network cards do that.
pub trait Sums: Frame {
    /// Has the verifier forget how much of the packet is known to be there: ways that lead here are then one.
    fn forget(&mut self);
    /// The checksum at `offset` of a `protocol`'s header, after the sum of its pseudo-header has changed by so much, and that of
    /// what it covers besides by `own`.
    fn change_sum<H: IpHeader>(&mut self, offset: usize, protocol: u8, pseudo: u64, own: u64) -> Option<()>;
}
