//! What the control plane decided, as the pipeline asks for it. Tables hold answers: no route or neighbour is looked up.

use crate::{
    layout::{Block, NOTES},
    reason::Reason,
    word::Word,
};

/// One line of the transition table.
pub type NoteLine = [Word; NOTES];

/// Read access to the tables, and counting.
pub trait Tables {
    /// All tables but the transition table.
    fn block(&self) -> Option<&Block>;
    /// A line of the transition table.
    fn notes(&self, line: u32) -> Option<&NoteLine>;
    /// Time since boot in units of 2³⁶ ns (68.7 s), modulo 256.
    fn epoch(&self) -> u8;

    /// Counts a packet of a service for an instance.
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64);
    /// Counts a drop.
    fn count_drop(&self, scope: u16, reason: Reason);
}
