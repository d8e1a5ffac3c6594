//! Perfect hash tables: an entry is where its key says, and nothing else is there.

use std::collections::BTreeMap;

use gateway_ebpf::layout::SLOTS;

use super::Error;

/// A multiplier under which no two entries share a slot, and the entries by slot. The running one is kept where it will do, so
/// that what stays is not written.
pub(super) fn perfect<E: Copy>(
    entries: &[E],
    slot: impl Fn(E, u64) -> u32,
    running: Option<u64>,
    what: &'static str,
) -> Result<(u64, BTreeMap<u32, E>), Error> {
    // Odd multiples of the golden ratio: a few tries do for some dozens of entries in 4,096 slots.
    let candidates = (0..10_000u64).map(|n| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * n + 1));
    running
        .into_iter()
        .chain(candidates)
        .find_map(|multiplier| {
            let table: BTreeMap<u32, E> =
                entries.iter().map(|&entry| (slot(entry, multiplier), entry)).collect();
            (table.len() == entries.len()).then_some((multiplier, table))
        })
        .ok_or(Error::NoNumber { what, limit: SLOTS })
}
