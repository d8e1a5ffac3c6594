//! Source NAT over packets of the host's stack and BPF maps. No file can switch it on yet: packets pass as they are.

pub mod maps;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, programs::TcContext};

/// Where what leaves for outside is to get its public VIP.
#[inline(always)]
pub fn leave(_: &TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Where what comes back is to get its instance's own address.
#[inline(always)]
pub fn arrive(_: &TcContext) -> i32 {
    TC_ACT_UNSPEC
}
