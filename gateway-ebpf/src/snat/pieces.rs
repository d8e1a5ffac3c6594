//! Datagrams that leave in fragments: only the first one has ports, and the others have to leave by its VIP. Noted as on a
//! balancer ([`crate::fragment`]), by destination, identification and (IPv4) protocol.

use super::{
    allocate::Flow,
    layout::{Entry, FRAGMENT_LINES, Table},
    map::Flows,
};
use crate::{
    address::{self, FIVE_TUPLE, V4, mix},
    fragment,
    parse::Part,
};

/// Notes by which VIP a datagram's first fragment leaves.
#[inline(always)]
pub fn note<M: Flows>(flows: &M, table: &Table, part: Part, flow: Flow, entry: Entry) {
    let hash = hash(table, part, flow);
    if let Some(line) = flows.fragments(hash as u32 & (FRAGMENT_LINES - 1)) {
        fragment::put(line, hash, fragment::time(flows.now()), 0, u16::from(entry.vip()) + 1);
    }
}

/// By what a later one's datagram leaves: an entry that has a VIP alone.
#[inline(always)]
pub fn follow<M: Flows>(flows: &M, table: &Table, part: Part, flow: Flow) -> Option<Entry> {
    let hash = hash(table, part, flow);
    let line = flows.fragments(hash as u32 & (FRAGMENT_LINES - 1))?;
    let note = fragment::get(line, hash, fragment::time(flows.now()))?;
    Some(Entry::new(0, 0, (note.instance() - 1) as u8, 0))
}

#[inline(always)]
fn hash(table: &Table, part: Part, flow: Flow) -> u64 {
    // RFC 8200 §4.5: the fragments of a datagram may differ in the next header.
    let protocol = if flow.peer.hi == V4 { flow.protocol } else { 0 };
    let datagram = address::Flow { source: flow.peer, ports: part.id, protocol };
    mix(datagram.hash(table.seed, FIVE_TUPLE))
}
