//! The maps. User space knows them by these names.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, DevMap, PerCpuArray, ProgramArray, RingBuf},
};

use crate::{
    decap,
    finish::Job,
    layout::{
        Blocks, FRAGMENT_LINES, INSTANCES, INTERFACES, NOTE_LINES, NOTES, PROBES as PROBE_SLOTS, Probe,
        REASONS, SAMPLES_BYTES, SCOPES, Traffic,
    },
    limit,
    note::Settled,
    tables::{ANSWERED, NoteLine},
};

/// One value: all tables but the next.
#[map]
pub static TABLES: Array<Blocks> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The transition table, a line a value. User space maps it to forget instances.
#[map]
pub static TRANSITIONS: Array<[u64; NOTES]> = Array::with_max_entries(NOTE_LINES, BPF_F_MMAPABLE);
/// Fragmented datagrams, a line a value. User space maps it, as the one above.
#[map]
pub static FRAGMENTS: Array<[u64; NOTES]> = Array::with_max_entries(FRAGMENT_LINES, BPF_F_MMAPABLE);
/// The programs that another one goes on with.
#[map]
pub static NEXT: ProgramArray = ProgramArray::with_max_entries(4, 0);
/// Index in [`NEXT`]: decides on odd packets.
pub const NEXT_SLOW: u32 = 0;
/// Index in [`NEXT`]: does what that one decided.
pub const NEXT_FINISH: u32 = 1;
/// Index in [`NEXT`]: what instances send to clients in nat mode.
pub const NEXT_REPLY: u32 = 2;
/// Index in [`NEXT`]: shows what is dropped.
pub const NEXT_SAMPLE: u32 = 3;
/// This host's own connections to VIPs, by port less [`crate::layout::PROBE_PORT`].
#[map]
pub static PROBES: Array<Probe> = Array::with_max_entries(PROBE_SLOTS, 0);
/// What is to be done with the frame at hand.
#[map]
pub static JOB: PerCpuArray<Job> = PerCpuArray::with_max_entries(1, 0);
/// The interfaces, by [`crate::layout::Interface::port`].
#[map]
pub static PORTS: DevMap = DevMap::with_max_entries(INTERFACES, 0);
/// By scope.
#[map]
pub static SERVICE_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(SCOPES, 0);
/// By instance number.
#[map]
pub static INSTANCE_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(INSTANCES, 0);
/// By scope × [`REASONS`] + reason.
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(SCOPES * REASONS, 0);
/// By [`Settled`].
#[map]
pub static SETTLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Settled::COUNT, 0);
/// One word: the newest generation of a ring, [`decap::Sockets::newest`].
#[map]
pub static NEWEST: Array<u64> = Array::with_max_entries(1, 0);
/// By [`decap::Settled`].
#[map]
pub static SETTLED_HERE: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(decap::Settled::ALL.len() as u32, 0);

/// Which drop is to be shown: [`super::sample::Due`].
#[map]
pub static DUE: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
/// Drops that are shown, each a [`crate::layout::Sample`].
#[map]
pub static SAMPLES: RingBuf = RingBuf::with_byte_size(SAMPLES_BYTES, 0);
/// By [`crate::tables::Answered`].
#[map]
pub static ANSWERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(ANSWERED, 0);
/// The token buckets of answers: [`crate::limit`].
#[map]
pub static ALLOWANCES: PerCpuArray<u64> = PerCpuArray::with_max_entries(limit::BUCKETS, 0);

const _: () = assert!(size_of::<NoteLine>() == size_of::<[u64; NOTES]>());
