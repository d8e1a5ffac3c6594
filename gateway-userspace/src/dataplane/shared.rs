//! A map's memory, shared with the kernel: words are read and written in place.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};

use super::Error;

/// Words of a map that was created with `BPF_F_MMAPABLE` (kernel 5.5).
#[derive(Debug)]
pub(super) struct Shared<W> {
    memory: MmapRaw,
    words: usize,
    /// The kernel frees a map's memory with its last descriptor or mapping; this one keeps the map for the program's links.
    _map: MapData,
    word: std::marker::PhantomData<W>,
}

impl<W> Shared<W> {
    pub(super) fn map(map: MapData, words: usize) -> Result<Self, Error> {
        let bytes = words * size_of::<W>();
        let memory = MmapOptions::new()
            .len(bytes)
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| Error::Mmap { bytes, source })?;
        Ok(Self { memory, words, _map: map, word: std::marker::PhantomData })
    }

    fn at(&self, index: usize) -> *mut W {
        assert!(index < self.words, "word {index} of {}", self.words);
        self.memory.as_mut_ptr().cast::<W>().wrapping_add(index)
    }
}

impl Shared<u32> {
    pub(super) fn load(&self, index: usize) -> u32 {
        // SAFETY: inside the mapping (asserted), page-aligned base, and only ever accessed atomically.
        unsafe { AtomicU32::from_ptr(self.at(index)) }.load(Relaxed)
    }

    pub(super) fn store(&self, index: usize, value: u32) {
        // SAFETY: as in `load`.
        unsafe { AtomicU32::from_ptr(self.at(index)) }.store(value, Relaxed);
    }
}

impl Shared<u64> {
    pub(super) fn load(&self, index: usize) -> u64 {
        // SAFETY: inside the mapping (asserted), page-aligned base, and only ever accessed atomically.
        unsafe { AtomicU64::from_ptr(self.at(index)) }.load(Relaxed)
    }

    pub(super) fn store(&self, index: usize, value: u64) {
        // SAFETY: as in `load`.
        unsafe { AtomicU64::from_ptr(self.at(index)) }.store(value, Relaxed);
    }
}
