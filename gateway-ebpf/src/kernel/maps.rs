//! The maps. User space knows them by these names.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuArray},
};

use crate::{
    layout::{
        Config, INSTANCES, Instance, NOTE_LINES, NOTES, REASONS, RING_WORDS, RINGS, SCOPES, SLOTS,
        SOURCE_SETS, Service, SourceSet, Traffic, Vip,
    },
    tables::NoteLine,
};

/// One entry.
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
/// By [`crate::address::Address::slot`].
#[map]
pub static VIPS: Array<Vip> = Array::with_max_entries(SLOTS, 0);
/// By [`Service::slot`].
#[map]
pub static SERVICES: Array<Service> = Array::with_max_entries(SLOTS, 0);
/// By number of the set.
#[map]
pub static SOURCES: Array<SourceSet> = Array::with_max_entries(SOURCE_SETS, 0);
/// A ring a value. User space maps them into its memory and changes a bucket by one store.
#[map]
pub static BUCKETS: Array<[u32; RING_WORDS]> = Array::with_max_entries(RINGS, BPF_F_MMAPABLE);
/// By instance number.
#[map]
pub static INSTANCE: Array<Instance> = Array::with_max_entries(INSTANCES, 0);
/// The transition table, a line a value. User space maps it to forget instances.
#[map]
pub static TRANSITIONS: Array<[u64; NOTES]> = Array::with_max_entries(NOTE_LINES, BPF_F_MMAPABLE);
/// By scope.
#[map]
pub static SERVICE_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(SCOPES, 0);
/// By instance number.
#[map]
pub static INSTANCE_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(INSTANCES, 0);
/// By scope × [`REASONS`] + reason.
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(SCOPES * REASONS, 0);

const _: () = assert!(size_of::<NoteLine>() == size_of::<[u64; NOTES]>());
