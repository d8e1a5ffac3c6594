//! Source NAT over packets of the host's stack and BPF maps.

pub mod maps;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, programs::TcContext};

use self::maps::{COUNTS, DROPS, EXHAUSTED, FORWARD, FRAGMENTS, REVERSE, TABLE};

/// Gives what leaves for outside its public VIP.
#[inline(always)]
pub fn leave(_: &TcContext) -> i32 {
    let key = crate::snat::layout::Key::default();
    if TABLE.get(0).is_some() && FORWARD.get_ptr(key).is_some() && COUNTS.get(0).is_some() {
        FRAGMENTS.get(0);
        EXHAUSTED.get_ptr(key);
    }
    TC_ACT_UNSPEC
}

/// Gives what comes back its instance's own address.
#[inline(always)]
pub fn arrive(_: &TcContext) -> i32 {
    let key = crate::snat::layout::Key::default();
    if REVERSE.get_ptr(key).is_some() {
        DROPS.get(0);
    }
    TC_ACT_UNSPEC
}
