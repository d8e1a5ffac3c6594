//! The kernel's routes and neighbours (`bpf_fib_lookup`, Linux 4.18).

use aya_ebpf::{EbpfContext as _, helpers::bpf_fib_lookup, programs::XdpContext};

use crate::{
    address::{Address, V4},
    headers::Macs,
    tables::Route,
};

/// `struct bpf_fib_lookup` of the kernel's `linux/bpf.h`, little-endian. In words, for stores of smaller fields would be made one,
/// and the verifier wants them aligned on the stack.
#[repr(C)]
struct Lookup {
    /// Family, protocol, both ports (zero), and the length that is checked against the way's MTU.
    first: u64,
    /// In: where the packet came from. Out: where it goes.
    interface: u32,
    service: u32,
    /// IPv4 addresses are in the first four bytes.
    source: [u64; 2],
    destination: [u64; 2],
    vlan: u32,
    /// Our MAC, then the next hop's, in memory order.
    macs: [u32; 3],
}

const _: () = assert!(size_of::<Lookup>() == 64);

const INET: u64 = 2;
const INET6: u64 = 10;
const SUCCESS: i64 = 0;
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
    let mut lookup = Lookup {
        first: family | u64::from(protocol) << 8 | u64::from(length) << 48,
        interface,
        service: 0,
        source: wire(source),
        destination: wire(destination),
        vlan: 0,
        macs: [0; 3],
    };
    let size = size_of::<Lookup>() as i32;
    // SAFETY: it has the size and layout of the kernel's own type, and lives until the call is over.
    let result = unsafe { bpf_fib_lookup(context.as_ptr(), (&raw mut lookup).cast(), size, 0) };
    match result {
        SUCCESS => {
            let [ours, mixed, theirs] = lookup.macs;
            // Little-endian words: the frame has the next hop's address first.
            let macs = Macs {
                a: mixed >> 16 | theirs << 16,
                b: theirs >> 16 | ours << 16,
                c: ours >> 16 | mixed << 16,
            };
            Route::Link { interface: lookup.interface, macs }
        }
        TOO_BIG => Route::TooBig,
        _ => Route::Unknown,
    }
}

#[inline(always)]
fn wire(address: Address) -> [u64; 2] {
    if address.hi == V4 {
        [u64::from((address.lo as u32).to_be()), 0]
    } else {
        [address.hi.to_be(), address.lo.to_be()]
    }
}
