//! A map's memory, shared with the kernel and changed in place.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{Ordering, fence},
};

use aya::maps::MapData;
use gateway_ebpf::{
    layout::{Block, Blocks, LAYOUT},
    tables::NoteLine,
};
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

impl Shared<Blocks> {
    /// The kernel only reads it, and this is its only mapping.
    pub(super) fn get(&self) -> &Blocks {
        // SAFETY: page-aligned, of that size, integers only, and borrowed from the mapping's owner.
        unsafe { &*self.memory.as_ptr().cast::<Blocks>() }
    }

    fn get_mut(&mut self) -> &mut Blocks {
        // SAFETY: as above.
        unsafe { &mut *self.memory.as_mut_ptr().cast::<Blocks>() }
    }

    /// Writes what differs from `next` in the tables that no packet goes by, and has packets go by them. Whoever stops this
    /// half-way leaves the tables of before.
    pub(super) fn replace(&mut self, next: &Block) {
        let blocks = self.get_mut();
        blocks.layout = LAYOUT;
        let other = blocks.active & 1 ^ 1;
        for (place, &word) in words_mut(&mut blocks.blocks[other as usize]).iter_mut().zip(words(next)) {
            if *place != word {
                *place = word;
            }
        }
        // What was written before is there before.
        fence(Ordering::Release);
        // SAFETY: from a reference. Volatile, because the kernel reads it behind the compiler's back.
        unsafe { (&raw mut blocks.active).write_volatile(other) };
    }
}

fn words(block: &Block) -> &[u64] {
    let (place, count) = (std::ptr::from_ref(block).cast(), size_of::<Block>() / size_of::<u64>());
    // SAFETY: from a reference, of integers without padding, and aligned, since it has 64-bit fields.
    unsafe { std::slice::from_raw_parts(place, count) }
}

fn words_mut(block: &mut Block) -> &mut [u64] {
    let (place, count) = (std::ptr::from_mut(block).cast(), size_of::<Block>() / size_of::<u64>());
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(place, count) }
}

impl<const LINES: usize> Shared<[NoteLine; LINES]> {
    /// Words that the kernel loads and stores too, as [`gateway_ebpf::word::Word`] allows.
    pub(super) fn get(&self) -> &[NoteLine; LINES] {
        // SAFETY: page-aligned, of that size, atomic words only, and borrowed from the mapping's owner.
        unsafe { &*self.memory.as_ptr().cast::<[NoteLine; LINES]>() }
    }
}
