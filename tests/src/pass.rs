//! An XDP program that passes everything, for the peer of a veth that sends by XDP_TX.
//!
//! XDP_TX puts a frame into the peer's ring, but `veth_xdp_flush` wakes the peer only where it has a program of its own: with
//! GRO alone the frame is taken and then lies there until the peer is woken by something else, up to seconds later (seen on 6.18).
//! The lab has to stand before any BPF toolchain does, so the program is two instructions, given to bpf(2) as they are.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::Context;

use crate::host::Host;

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
/// Large frames may come in several pieces; without it the kernel would turn segmentation off at the other end.
const XDP_HAS_FRAGS: u32 = 1 << 5;
/// In the driver, not in the stack.
const DRIVER_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS` and `exit`, each an opcode, registers, an offset and a constant (RFC 9669).
static PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads (linux/bpf.h); what is left out counts as zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The same for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The program on an interface; dropped, it is gone.
#[derive(Debug)]
pub struct Pass {
    _link: OwnedFd,
}

impl Pass {
    /// Attaches it to `interface` of `host`.
    ///
    /// # Errors
    /// No privileges for BPF, or the interface has a program.
    pub fn attach(host: &Host, interface: &str) -> anyhow::Result<Self> {
        let attached = host.enter(|| {
            let index = nix::net::if_::if_nametoindex(interface)?;
            let program = load()?;
            let link = LinkCreate {
                prog_fd: number(&program),
                target_ifindex: index,
                attach_type: ATTACH_TYPE_XDP,
                flags: DRIVER_MODE,
            };
            // SAFETY: `LinkCreate` is laid out as the command's attributes and has no pointers.
            unsafe { bpf(LINK_CREATE, &link) }
        });
        let link = attached
            .with_context(|| format!("no XDP on {interface} of {}: the lab needs root", host.name()))?;
        Ok(Self { _link: link })
    }
}

fn load() -> io::Result<OwnedFd> {
    let program = ProgLoad {
        prog_type: PROG_TYPE_XDP,
        insn_cnt: PROGRAM.len() as u32,
        insns: PROGRAM.as_ptr().addr() as u64,
        license: c"Dual MIT/GPL".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: XDP_HAS_FRAGS,
    };
    // SAFETY: `ProgLoad` is laid out as the command's attributes; its pointers are to statics of the length it says.
    unsafe { bpf(PROG_LOAD, &program) }
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// bpf(2) for a command that gives a descriptor.
///
/// # Safety
/// `attributes` is what the command takes, and its pointers are good.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the pointer and the length are those of `attributes`; the caller answers for what is in it.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let Ok(fd @ 0..) = i32::try_from(outcome) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
