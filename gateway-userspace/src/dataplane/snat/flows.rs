//! The tables of flows: hash maps that the kernel's programs change at the same time.
//!
//! aya reads a map by two system calls an entry, and cannot take one out and see what it was: so here are those calls.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::MapData;
use gateway_ebpf::snat::layout::{Entry, Key};

use crate::dataplane::Error;

/// `enum bpf_cmd` of the kernel's `linux/bpf.h`.
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const DELETE: libc::c_long = 3;
const LOOKUP_AND_DELETE: libc::c_long = 21;
const LOOKUP_BATCH: libc::c_long = 24;
/// `BPF_NOEXIST`
const NEW: u64 = 1;
/// Entries that are read by one call.
const BATCH: usize = 4096;

/// A map of [`Entry`] by [`Key`].
pub(super) struct Flows {
    map: MapData,
    name: &'static str,
}

/// The kernel's `union bpf_attr` for one entry.
#[repr(C)]
struct One {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The same for many.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Flows {
    pub(super) const fn new(map: MapData, name: &'static str) -> Self {
        Self { map, name }
    }

    /// Every entry that is there all the while; such as come or go meanwhile may be in it.
    pub(super) fn all(&self) -> Result<Vec<(Key, Entry)>, Error> {
        let mut all = Vec::new();
        let (mut keys, mut values) = (vec![Key::default(); BATCH], vec![0_u64; BATCH]);
        // A place in the table, in a form of the kernel's own.
        let (mut place, mut next) = (0_u32, 0_u32);
        let mut is_first = true;
        loop {
            let mut batch = Batch {
                from: if is_first { 0 } else { address(&raw mut place) },
                to: address(&raw mut next),
                keys: keys.as_mut_ptr().addr() as u64,
                values: values.as_mut_ptr().addr() as u64,
                count: BATCH as u32,
                map: self.descriptor(),
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: `count` keys and values have room, and all that is pointed to lives until the call returns.
            let outcome = unsafe { call(LOOKUP_BATCH, &raw mut batch) };
            let read = batch.count as usize;
            all.extend(keys.iter().zip(&values).take(read).map(|(&key, &value)| (key, Entry(value))));
            match outcome {
                Ok(()) => (place, is_first) = (next, false),
                // The end; what was read is in the batch.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(all),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    pub(super) fn get(&self, key: Key) -> Result<Option<Entry>, Error> {
        self.one(LOOKUP, key, 0)
    }

    /// Takes an entry out, and says what it was in that moment.
    pub(super) fn take(&self, key: Key) -> Result<Option<Entry>, Error> {
        self.one(LOOKUP_AND_DELETE, key, 0)
    }

    pub(super) fn remove(&self, key: Key) -> Result<(), Error> {
        self.one(DELETE, key, 0).map(|_| ())
    }

    /// Puts back what was taken out; false: somebody else has the place now.
    pub(super) fn put_back(&self, key: Key, entry: Entry) -> Result<bool, Error> {
        let mut value = entry.0;
        match self.element(UPDATE, key, &mut value, NEW) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn one(&self, command: libc::c_long, key: Key, flags: u64) -> Result<Option<Entry>, Error> {
        let mut value = 0;
        match self.element(command, key, &mut value, flags) {
            Ok(()) => Ok(Some(Entry(value))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn element(&self, command: libc::c_long, key: Key, value: &mut u64, flags: u64) -> io::Result<()> {
        let mut key = key;
        let value = if command == DELETE { 0 } else { address(std::ptr::from_mut(value)) };
        let mut one = One { map: self.descriptor(), pad: 0, key: address(&raw mut key), value, flags };
        // SAFETY: a key and a value of the map's sizes, which live until the call returns.
        unsafe { call(command, &raw mut one) }
    }

    fn descriptor(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd().cast_unsigned()
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Flows { map: self.name, source }
    }
}

fn address<T>(place: *mut T) -> u64 {
    place.addr() as u64
}

/// # Safety
/// Whatever `attributes` point to is there until this returns.
unsafe fn call<T>(command: libc::c_long, attributes: *mut T) -> io::Result<()> {
    // SAFETY: the kernel reads and writes as many bytes as it is told; the rest is the caller's word.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
