//! What the control plane decided, as the pipeline asks for it. Tables hold answers: no route or neighbour is looked up.

use crate::{
    address::Address,
    headers::Macs,
    layout::{Block, NOTES},
    note::Settled,
    reason::Reason,
    step::Step,
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

/// What was answered: the index of its counter.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answered {
    /// An echo reply.
    Echo = 0,
    /// An ICMP error. What it is about counts as a drop too.
    Error = 1,
    /// A reset. Likewise.
    Reset = 2,
    /// Nothing: over the limit.
    Limited = 3,
}

/// How many kinds [`Answered`] has.
pub const ANSWERED: u32 = 4;

/// The kernel's way for a packet that it would route.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// Its next hop is known.
    Link {
        /// The kernel's index of the interface that leads there.
        interface: u32,
        /// The next hop's address and the interface's.
        macs: Macs,
    },
    /// The packet is larger than the way's MTU.
    TooBig,
    /// It leads nowhere else: the destination is this host, or there is no route.
    Here,
    /// Any other: the kernel has to resolve it, or refuses it.
    Unknown,
}

/// Read access to the tables, the clock, counting, and telling.
pub trait Tables {
    /// All tables but the next two.
    fn block(&self) -> Option<&Block>;
    /// A line of the transition table.
    fn notes(&self, line: u32) -> Option<&NoteLine>;
    /// A line of the table of fragmented datagrams.
    fn fragments(&self, line: u32) -> Option<&NoteLine>;
    /// This CPU's token bucket at an index below [`crate::limit::BUCKETS`].
    fn allowance(&self, index: u32) -> Option<&Word>;
    /// Nanoseconds since boot, to some milliseconds.
    fn now(&self) -> u64;
    /// The kernel's index of the interface that the packet came in by.
    fn interface(&self) -> u32;
    /// The way of a packet of so many bytes between these addresses. Replies in nat mode go to any client, so there is no table
    /// of finished answers for them.
    fn route(&self, source: Address, destination: Address, protocol: u8, length: u16) -> Route;

    /// Counts a packet of a service for an instance.
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64);
    /// Counts a drop.
    fn count_drop(&self, scope: u16, reason: Reason);
    /// Counts an answer.
    fn count_answer(&self, answered: Answered);
    /// Counts how a packet of a moved bucket was settled.
    fn count_settled(&self, settled: Settled);

    /// Tells of a decision. By default, as in the kernel, nobody listens, and there is no step.
    #[inline(always)]
    fn tell(&self, _: impl FnOnce() -> Step) {}
}
