//! The kernel's sockets.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock, bpf_sock_tuple},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie},
    programs::XdpContext,
};

use super::maps::{NEWEST, SETTLED_HERE};
use crate::{
    address::Address,
    decap::{Asked, Owner, Settled, Sockets},
    frame::Frame,
    headers::Tcp,
    parse::IpHeader,
    word::Word,
};

/// `include/net/tcp_states.h`
const TCP_LISTEN: u32 = 10;
/// Of the interface's own namespace: `BPF_F_CURRENT_NETNS`.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// `struct bpf_sock_tuple` for IPv4: all as on the wire.
#[repr(C)]
struct Tuple4 {
    source: u32,
    destination: u32,
    ports: [u16; 2],
}

/// And for IPv6.
#[repr(C)]
struct Tuple6 {
    source: [u32; 4],
    destination: [u32; 4],
    ports: [u16; 2],
}

pub(super) struct KernelSockets<'c>(pub(super) &'c XdpContext);

impl Sockets for KernelSockets<'_> {
    #[inline(always)]
    fn owner<F: Frame, H: IpHeader>(&self, frame: &F, asked: &Asked<'_, H>) -> Owner {
        let &Asked { flow, vip, header, segment } = asked;
        let ports = [((flow.ports >> 16) as u16).to_be(), (flow.ports as u16).to_be()];
        let socket = if H::IS_V4 {
            let (source, destination) = ((flow.source.lo as u32).to_be(), (vip.lo as u32).to_be());
            self.find(Tuple4 { source, destination, ports })
        } else {
            self.find(Tuple6 { source: words(flow.source), destination: words(vip), ports })
        };
        if socket.is_null() {
            return Owner::Nobody;
        }
        // SAFETY: not null, and held until it is released.
        let owner = if unsafe { (*socket).state } != TCP_LISTEN {
            Owner::Socket
        } else {
            match segment.and_then(|place| frame.read::<Tcp>(place)) {
                Some(tcp) if answers_cookie(socket, header, tcp) => Owner::Cookie,
                _ => Owner::Nobody,
            }
        };
        // SAFETY: found above, and not used after this.
        unsafe { bpf_sk_release(socket.cast()) };
        owner
    }

    #[inline(always)]
    fn newest(&self) -> Option<&Word> {
        // SAFETY: an aligned word that lives as long as the program, and is only accessed atomically.
        NEWEST.get_ptr(0).map(|word| unsafe { &*word.cast::<Word>() })
    }

    #[inline(always)]
    fn settle(&self, how: Settled) {
        if let Some(counter) = SETTLED_HERE.get_ptr_mut(how as u32) {
            // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
            unsafe { *counter += 1 };
        }
    }
}

impl KernelSockets<'_> {
    /// Not `bpf_sk_lookup_tcp`: that finds the listener for a half-open connection, and nothing for one in TIME_WAIT.
    #[inline(always)]
    fn find<T>(&self, mut tuple: T) -> *mut bpf_sock {
        let place = (&raw mut tuple).cast::<bpf_sock_tuple>();
        // SAFETY: the kernel's own context, and a tuple of one of the two sizes that tell the family (kernel 5.6).
        unsafe { bpf_skc_lookup_tcp(self.0.as_ptr(), place, size_of::<T>() as u32, CURRENT_NAMESPACE, 0) }
    }
}

/// An address as words, in the order of the wire.
#[inline(always)]
fn words(address: Address) -> [u32; 4] {
    let word = |half: u64| [((half >> 32) as u32).to_be(), (half as u32).to_be()];
    let ([a, b], [c, d]) = (word(address.hi), word(address.lo));
    [a, b, c, d]
}

/// The headers are packed; but the verifier wants words on the stack aligned.
#[repr(C, align(8))]
struct Aligned<T>(T);

#[inline(always)]
fn answers_cookie<H: IpHeader>(socket: *mut bpf_sock, header: &H, tcp: Tcp) -> bool {
    let (mut header, mut tcp) = (Aligned(*header), Aligned(tcp));
    // SAFETY: a listening socket that is held, and headers of the sizes that are told.
    unsafe {
        bpf_tcp_check_syncookie(
            socket.cast(),
            (&raw mut header).cast(),
            size_of::<H>() as u32,
            (&raw mut tcp).cast(),
            size_of::<Tcp>() as u32,
        ) == 0
    }
}
