//! A map's memory, shared with the kernel and changed in place.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::MapData;
use gateway_ebpf::{layout::Block, tables::NoteLine};
use memmap2::{MmapOptions, MmapRaw};

use super::Error;

/// The one value, or all values, of an array map that was created with `BPF_F_MMAPABLE` (kernel 5.5), as a `T`.
#[derive(Debug)]
pub(super) struct Shared<T> {
    memory: MmapRaw,
    /// Keeps the map.
    _map: MapData,
    value: PhantomData<T>,
}

impl<T> Shared<T> {
    pub(super) fn map(map: MapData) -> Result<Self, Error> {
        let bytes = size_of::<T>();
        let memory = MmapOptions::new()
            .len(bytes)
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| Error::Mmap { bytes, source })?;
        Ok(Self { memory, _map: map, value: PhantomData })
    }
}

impl Shared<Block> {
    /// The kernel only reads it, and this is its only mapping.
    pub(super) fn get_mut(&mut self) -> &mut Block {
        // SAFETY: page-aligned, of that size, integers only, and borrowed from the mapping's owner.
        unsafe { &mut *self.memory.as_mut_ptr().cast::<Block>() }
    }
}

impl<const LINES: usize> Shared<[NoteLine; LINES]> {
    /// Words that the kernel loads and stores too, as [`gateway_ebpf::word::Word`] allows.
    pub(super) fn get(&self) -> &[NoteLine; LINES] {
        // SAFETY: page-aligned, of that size, atomic words only, and borrowed from the mapping's owner.
        unsafe { &*self.memory.as_ptr().cast::<[NoteLine; LINES]>() }
    }
}
