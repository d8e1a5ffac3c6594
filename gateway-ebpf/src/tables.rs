//! What the control plane decided, as the pipeline asks for it. Tables hold answers: no route or neighbour is looked up.

use crate::{
    layout::{Block, NOTES},
    reason::Reason,
    word::Word,
};

/// One line of the transition table, or of that of fragmented datagrams.
pub type NoteLine = [Word; NOTES];

/// What is answered at a limited rate, so that nobody can make this host shout (RFC 1812 §4.3.2.8, RFC 4443 §2.4f).
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Echo replies.
    Echo = 0,
    /// ICMP errors.
    Error = 1,
    /// Resets.
    Reset = 2,
}

/// Read access to the tables, the clock, and counting.
pub trait Tables {
    /// All tables but the next two.
    fn block(&self) -> Option<&Block>;
    /// A line of the transition table.
    fn notes(&self, line: u32) -> Option<&NoteLine>;
    /// A line of the table of fragmented datagrams.
    fn fragments(&self, line: u32) -> Option<&NoteLine>;
    /// Nanoseconds since boot, to some milliseconds.
    fn now(&self) -> u64;
    /// The kernel's index of the interface that the packet came in by.
    fn interface(&self) -> u32;

    /// Counts a packet of a service for an instance.
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64);
    /// Counts a drop.
    fn count_drop(&self, scope: u16, reason: Reason);
}
