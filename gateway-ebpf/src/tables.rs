//! What the control plane decided, as the pipeline asks for it. Tables hold answers: no route or neighbour is looked up.

use crate::{
    address::Address,
    layout::{Bucket, Config, Instance, NOTES, Service, SourceSet, Vip},
    reason::Reason,
    word::Word,
};

/// One line of the transition table.
pub type NoteLine = [Word; NOTES];

/// Read access to the tables, and counting.
pub trait Tables {
    /// What the whole program needs; `None` before it is set.
    fn config(&self) -> Option<&Config>;
    /// The VIP in a slot.
    fn vip(&self, slot: u32) -> Option<&Vip>;
    /// The service in a slot.
    fn service(&self, slot: u32) -> Option<&Service>;
    /// A set of source prefixes.
    fn sources(&self, set: u32) -> Option<&SourceSet>;
    /// The word of a bucket, `bucket < BUCKETS`.
    fn bucket(&self, ring: u32, bucket: u32) -> Option<Bucket>;
    /// How to reach an instance.
    fn instance(&self, number: u32) -> Option<&Instance>;
    /// A line of the transition table.
    fn notes(&self, line: u32) -> Option<&NoteLine>;
    /// Time since boot in units of 2³⁶ ns (68.7 s), modulo 256.
    fn epoch(&self) -> u8;

    /// Counts a packet of a service for an instance.
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64);
    /// Counts a drop; `source` is for the event that the first of its kind raises.
    fn count_drop(&self, scope: u16, reason: Reason, source: Address);
}
