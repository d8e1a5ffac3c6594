//! What the kernel has, looked at past the program under test.

use std::{
    fmt,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
    ptr, slice,
};

use anyhow::{Context, ensure};
use aya::maps::MapData;
use gateway_ebpf::layout::{Block, Blocks};
use lab::host::Host;

/// Where the balancer on a host has its pins.
pub(crate) fn folder(host: &Host) -> anyhow::Result<PathBuf> {
    let service = ["contoso".to_owned(), format!("contoso-{}", host.cookie()?)];
    let folders = service.map(|name| PathBuf::from("/sys/fs/bpf/gateway").join(name).join("balancer"));
    folders.into_iter().rfind(|folder| folder.exists()).context("nothing is pinned")
}

/// The id of the program on the balancer's interface.
pub(crate) fn attached(host: &Host) -> String {
    let link = host.must("ip -details link show dev eth0").unwrap();
    let words: Vec<_> = link.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair[0] == "prog/xdp" && pair[1] == "id").unwrap();
    words[at + 2].to_owned()
}

/// The pinned tables, in the kernel's own memory.
pub(crate) struct Tables {
    place: *mut Blocks,
    _map: MapData,
}

/// A block's bytes.
#[derive(PartialEq, Eq)]
pub(crate) struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saved = &self.0[std::mem::offset_of!(Block, saved)..];
        let end = saved.iter().position(|&byte| byte == 0).unwrap_or(saved.len());
        write!(f, "{:?}, saved {}", self.tables(), String::from_utf8_lossy(&saved[..end]))
    }
}

impl Bytes {
    /// But for what user space keeps beside the tables.
    pub(crate) fn tables(&self) -> Part<'_> {
        Part(&self.0[..std::mem::offset_of!(Block, sequence)])
    }
}

/// Not shown when it differs: it has two million bytes.
#[derive(PartialEq, Eq)]
pub(crate) struct Part<'b>(&'b [u8]);

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = self.0.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        write!(f, "{} bytes with the sum {sum:x}", self.0.len())
    }
}

impl Tables {
    pub(crate) fn of(host: &Host) -> anyhow::Result<Self> {
        let map = MapData::from_pin(folder(host)?.join("TABLES"))?;
        // SAFETY: a new mapping of the map's one value, of that size.
        let place = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Blocks>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        ensure!(place != libc::MAP_FAILED, "the tables cannot be mapped");
        Ok(Self { place: place.cast(), _map: map })
    }

    /// What packets go by.
    pub(crate) fn active(&self) -> Bytes {
        // SAFETY: mapped, and of that type; whoever writes leaves the active block alone.
        let block: *const Block = unsafe { (*self.place).active() };
        // SAFETY: integers without padding.
        Bytes(unsafe { slice::from_raw_parts(block.cast(), size_of::<Block>()) }.to_vec())
    }

    /// As if another version had made them.
    pub(crate) fn set_layout(&mut self, change: impl FnOnce(u64) -> u64) {
        // SAFETY: mapped, and nobody else writes: the balancer is gone.
        let layout = unsafe { &mut (*self.place).layout };
        *layout = change(*layout);
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // SAFETY: mapped by this, with that size.
        unsafe { libc::munmap(self.place.cast(), size_of::<Blocks>()) };
    }
}
