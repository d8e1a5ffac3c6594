//! The kernel's routes and neighbours (`bpf_fib_lookup`, Linux 4.18).

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext as _, helpers::bpf_fib_lookup, programs::XdpContext};

use crate::{
    address::{Address, V4},
    headers::Macs,
    tables::Route,
};

/// `struct bpf_fib_lookup` of the kernel's `linux/bpf.h`, little-endian, in whole words: stores of smaller fields would be made one,
/// which the verifier wants aligned on the stack. From the lowest bits on:
///
/// | word | in | out |
/// |---|---|---|
/// | 0 | family 8, protocol 8, both ports 32 (zero), length against which the way's MTU is checked 16 | |
/// | 1 | interface 32, type of service 32 | interface 32 |
/// | 2, 3 | source; of IPv4 the first four bytes | |
/// | 4, 5 | destination, likewise | |
/// | 6, 7 | | VLAN 32, our MAC 48, the next hop's 48 |
type Lookup = [u64; 8];

const INET: u64 = 2;
const INET6: u64 = 10;
const SUCCESS: i64 = 0;
/// `BPF_FIB_LKUP_RET_NOT_FWDED`
const NOT_FORWARDED: i64 = 4;
const TOO_BIG: i64 = 8;

#[inline(always)]
pub(super) fn look_up(
    context: &XdpContext,
    source: Address,
    destination: Address,
    protocol: u8,
    length: u16,
) -> Route {
    // SAFETY: the kernel hands every XDP program a valid context.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    let family = if destination.hi == V4 { INET } else { INET6 };
    let words = [
        family | u64::from(protocol) << 8 | u64::from(length) << 48,
        interface.into(),
        first(source),
        second(source),
        first(destination),
        second(destination),
        0,
        0,
    ];
    let mut lookup = MaybeUninit::<Lookup>::uninit();
    let place = lookup.as_mut_ptr().cast::<u64>();
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the words of `lookup`. Volatile, or zeros next to each other would be left to a function.
        unsafe { place.add(index).write_volatile(word) };
    }
    // SAFETY: it has the size and layout of the kernel's own type, and lives until the call is over.
    let result = unsafe { bpf_fib_lookup(context.as_ptr(), place.cast(), size_of::<Lookup>() as i32, 0) };
    // SAFETY: all of it was written above.
    let word = |index: usize| unsafe { place.add(index).read() };
    match result {
        SUCCESS => {
            // Our MAC is in the bytes 52 to 57, the next hop's in 58 to 63; the frame has the next hop's first.
            let (ours, theirs) = (word(6) >> 32 | (word(7) & 0xffff) << 32, word(7) >> 16);
            let macs =
                Macs { a: theirs as u32, b: (theirs >> 32 | ours << 16) as u32, c: (ours >> 16) as u32 };
            Route::Link { interface: word(1) as u32, macs }
        }
        TOO_BIG => Route::TooBig,
        NOT_FORWARDED => Route::Here,
        _ => Route::Unknown,
    }
}

#[inline(always)]
fn first(address: Address) -> u64 {
    if address.hi == V4 { u64::from((address.lo as u32).to_be()) } else { address.hi.to_be() }
}

#[inline(always)]
fn second(address: Address) -> u64 {
    if address.hi == V4 { 0 } else { address.lo.to_be() }
}
