//! The maps. User space knows them by these names.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray},
};

use crate::{
    layout::{NOTES, REASONS},
    snat::layout::{COUNTS as KINDS, EXHAUSTED as DESTINATIONS, FLOWS, FRAGMENT_LINES, Halves, Key},
};

/// One value: what the control plane decided.
#[map(name = "SNAT_TABLE")]
pub static TABLE: Array<Halves> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// What leaves: [`crate::snat::layout::Entry`] by [`Key::forward`].
#[map(name = "SNAT_FORWARD")]
pub static FORWARD: HashMap<Key, u64> = HashMap::with_max_entries(FLOWS, BPF_F_NO_PREALLOC);
/// What comes back: [`crate::snat::layout::Entry`] by [`Key::reverse`].
#[map(name = "SNAT_REVERSE")]
pub static REVERSE: HashMap<Key, u64> = HashMap::with_max_entries(FLOWS, BPF_F_NO_PREALLOC);
/// Datagrams that leave in fragments, a line a value.
#[map(name = "SNAT_FRAGMENTS")]
pub static FRAGMENTS: Array<[u64; NOTES]> = Array::with_max_entries(FRAGMENT_LINES, 0);
/// The programs that another one goes on with.
#[map(name = "SNAT_NEXT")]
pub static NEXT: ProgramArray = ProgramArray::with_max_entries(2, 0);
/// Index in [`NEXT`]: what leaves.
pub const NEXT_LEAVE: u32 = 0;
/// Index in [`NEXT`]: gives a flow that begins its port.
pub const NEXT_BEGIN: u32 = 1;
/// By [`crate::snat::layout::Count`].
#[map(name = "SNAT_COUNTS")]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);
/// By [`crate::reason::Reason`].
#[map(name = "SNAT_DROPS")]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS, 0);
/// Destinations for which no port was free: how often (32 bits), and the tick of the last time (the upper 32), by
/// [`Key::forward`] with port 0.
#[map(name = "SNAT_EXHAUSTED")]
pub static EXHAUSTED: LruHashMap<Key, u64> = LruHashMap::with_max_entries(DESTINATIONS, 0);
