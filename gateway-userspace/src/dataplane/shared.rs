//! A map's memory, shared with the kernel and changed in place.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{Ordering, fence},
};

use aya::maps::MapData;
use gateway_ebpf::{
    layout::{Block, Blocks, LAYOUT},
    snat::layout::{self as snat, Halves},
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

    /// To be read only: who writes it is another process.
    pub(super) fn look(map: MapData) -> Result<Self, Error> {
        let bytes = size_of::<T>();
        let memory = MmapOptions::new()
            .len(bytes)
            .map_raw_read_only(map.fd().as_fd().as_raw_fd())
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

    /// Copies the tables that packets go by. False: they were written meanwhile, and the copy is of no use.
    pub(super) fn copy_active(&self, into: &mut Block) -> bool {
        let blocks = self.memory.as_ptr().cast::<Blocks>();
        // SAFETY: page-aligned, of that size, and alive. Volatile, because another process may store to it.
        let read = |word: *const u64| unsafe { word.read_volatile() };
        // SAFETY: places in the mapping.
        let active = || unsafe { &raw const (*blocks).active };
        let before = read(active()) & 1;
        // SAFETY: likewise.
        let block = unsafe { &raw const (*blocks).blocks[before as usize] };
        // SAFETY: likewise.
        let sequence = || unsafe { &raw const (*block).sequence };
        let version = read(sequence());
        // SAFETY: two blocks that do not overlap, of integers, for which every pattern is a value.
        unsafe { std::ptr::copy_nonoverlapping(block, into, 1) };
        fence(Ordering::Acquire);
        // This block is written once the other one holds: not within the copy, if it holds still and is the same.
        read(active()) & 1 == before && read(sequence()) == version
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
        write(&mut blocks.blocks[other as usize], next);
        flip(&mut blocks.active, other);
    }
}

impl Shared<Halves> {
    /// As of [`Blocks`].
    pub(super) fn get(&self) -> &Halves {
        // SAFETY: page-aligned, of that size, integers only, and borrowed from the mapping's owner.
        unsafe { &*self.memory.as_ptr().cast::<Halves>() }
    }

    /// As of [`Blocks`].
    pub(super) fn replace(&mut self, next: &snat::Table) {
        // SAFETY: as above.
        let halves = unsafe { &mut *self.memory.as_mut_ptr().cast::<Halves>() };
        halves.layout = snat::LAYOUT;
        let other = halves.active & 1 ^ 1;
        write(&mut halves.tables[other as usize], next);
        flip(&mut halves.active, other);
    }
}

/// Tables of integers only, without padding, aligned to eight bytes.
trait Words: Sized {
    fn words(&self) -> &[u64] {
        const {
            assert!(
                size_of::<Self>().is_multiple_of(size_of::<u64>()) && align_of::<Self>() == align_of::<u64>()
            );
        };
        let (place, count) = (std::ptr::from_ref(self).cast(), size_of::<Self>() / size_of::<u64>());
        // SAFETY: from a reference, of integers without padding, and aligned.
        unsafe { std::slice::from_raw_parts(place, count) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        let (place, count) = (std::ptr::from_mut(self).cast(), size_of::<Self>() / size_of::<u64>());
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(place, count) }
    }
}

impl Words for Block {}
impl Words for snat::Table {}

/// Writes what differs, where no packet goes by.
fn write<T: Words>(table: &mut T, next: &T) {
    for (place, &word) in table.words_mut().iter_mut().zip(next.words()) {
        if *place != word {
            *place = word;
        }
    }
}

/// Has packets go by the other half.
fn flip(active: &mut u64, other: u64) {
    // What was written before is there before.
    fence(Ordering::Release);
    // SAFETY: from a reference. Volatile, because the kernel reads it behind the compiler's back.
    unsafe { std::ptr::from_mut(active).write_volatile(other) };
}

impl<const LINES: usize> Shared<[NoteLine; LINES]> {
    /// Words that the kernel loads and stores too, as [`gateway_ebpf::word::Word`] allows.
    pub(super) fn get(&self) -> &[NoteLine; LINES] {
        // SAFETY: page-aligned, of that size, atomic words only, and borrowed from the mapping's owner.
        unsafe { &*self.memory.as_ptr().cast::<[NoteLine; LINES]>() }
    }
}
