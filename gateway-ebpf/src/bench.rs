//! Programs for `cargo xtask bench`, apart from the object that is shipped. Built for the host, this file is empty.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod programs {
    use core::arch::asm;

    use aya_ebpf::{
        bindings::xdp_action,
        helpers::{bpf_redirect, bpf_xdp_adjust_head},
        macros::{map, xdp},
        maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
        programs::XdpContext,
    };

    /// Bytes of every frame that is made here: the smallest of Ethernet, without the four of its checksum.
    const FRAME: usize = 60;
    /// Where a TCP segment over IPv4 without options has the second half of its source address.
    const SOURCE_ADDRESS: usize = 14 + 12 + 2;
    const IDENTIFICATION: usize = 14 + 4;
    const SOURCE_PORT: usize = 14 + 20;
    const DATA: usize = SOURCE_PORT + 20;
    const SEQUENCE: usize = SOURCE_PORT + 4;
    const FLAGS: usize = SOURCE_PORT + 13;
    const SYN: u8 = 0x02;
    /// A flow is an address of this many ports.
    const PORT_BITS: u32 = 12;
    const FIRST_PORT: u16 = 1024;
    /// Odd, so that multiplying by it modulo a power of two visits every flow once, in no order that a cache could guess.
    const STRIDE: u32 = 0x9e37_79b1;

    /// Bytes of the largest frame of `wrap`: TCP over IPv6, with data as [`FRAME`] has it.
    const LARGEST: usize = FRAME + 20;
    /// As [`SOURCE_ADDRESS`], over IPv6.
    const SOURCE_ADDRESS_6: usize = 14 + 8 + 14;
    const SOURCE_PORT_6: usize = 14 + 40;
    /// Of a classic table: enough for all flows of a bench.
    const CONNECTIONS_MAX: u32 = 1 << 20;

    /// What `wrap` hands to the program under test.
    #[repr(C)]
    struct Wrapped {
        /// Every frame before it is made one of a flow.
        frame: [u32; LARGEST / 4],
        /// [`FRAME`] or [`LARGEST`]: IPv4 or IPv6.
        length: u32,
        /// Counts frames.
        next: u32,
        /// Flows, less one: a power of two, less one.
        flows: u32,
    }

    /// What a classic table of connections is asked for: the client's address (of IPv6 the half that varies here), ports, protocol.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Connection {
        source: u64,
        ports: u32,
        protocol: u32,
    }

    /// What `generate` sends, and where.
    #[repr(C)]
    struct Stream {
        /// Every frame before it is made one of a flow.
        frame: [u32; FRAME / 4],
        /// Counts frames.
        next: u32,
        /// Flows, less one: a power of two, less one.
        flows: u32,
        /// Flows of which every second frame is a SYN, less one; 0: none.
        flood: u32,
        /// The interface.
        to: u32,
    }

    /// What `sink` got.
    #[repr(C)]
    struct Arrived {
        packets: u64,
        bytes: u64,
    }

    /// What `audit` found.
    #[repr(C)]
    struct Audit {
        /// Frames of established flows.
        packets: u64,
        /// Those that came for another instance than the flow's first.
        astray: u64,
        /// Flows seen.
        flows: u64,
    }

    #[map]
    static WRAPPED: Array<Wrapped> = Array::with_max_entries(1, 0);
    #[map]
    static CONNECTIONS: LruHashMap<Connection, u32> = LruHashMap::with_max_entries(CONNECTIONS_MAX, 0);
    #[map]
    static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map]
    static STREAM: Array<Stream> = Array::with_max_entries(1, 0);
    #[map]
    static ARRIVED: PerCpuArray<Arrived> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static AUDIT: Array<Audit> = Array::with_max_entries(1, 0);
    /// By flow: the last bytes of the MAC that its first frame was for; 0: none yet.
    #[map]
    static OWNERS: Array<u32> = Array::with_max_entries(1 << 19, 0);

    /// The floor: what the kernel needs to call a program at all.
    #[xdp]
    fn empty(_: XdpContext) -> u32 {
        xdp_action::XDP_TX
    }

    /// Makes the frame afresh, which the kernel hands to each repetition as the last one left it, one of the next flow, and calls the
    /// program under test.
    #[xdp]
    fn wrap(context: XdpContext) -> u32 {
        run::<false>(&context)
    }

    /// As `wrap`, and in front of the program under test what a balancer with a table of connections does: looks each packet's up,
    /// and notes it where it is not there.
    #[xdp]
    fn wrap_classic(context: XdpContext) -> u32 {
        run::<true>(&context)
    }

    #[inline(always)]
    fn run<const CLASSIC: bool>(context: &XdpContext) -> u32 {
        let Some(wrapped) = WRAPPED.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
        // SAFETY: test runs of it do not overlap.
        let wrapped = unsafe { &mut *wrapped };
        let mut length = context.data_end() - context.data();
        // LLVM would else subtract the pointers' lower halves alone, which the verifier refuses.
        // SAFETY: a move to where it is.
        unsafe { asm!("{0} = {0}", inout(reg) length, options(pure, nomem, preserves_flags, nostack)) };
        let more = length as i32 - wrapped.length as i32;
        // Also where it has not grown: so it costs the floor what it costs the rest.
        // SAFETY: the kernel's own context.
        if unsafe { bpf_xdp_adjust_head(context.ctx, more) } != 0 {
            return xdp_action::XDP_ABORTED;
        }
        let (data, end) = (context.data(), context.data_end());
        if data + FRAME > end {
            return xdp_action::XDP_ABORTED;
        }
        let flow = wrapped.next.wrapping_mul(STRIDE) & wrapped.flows;
        wrapped.next = wrapped.next.wrapping_add(1);
        copy(data, &wrapped.frame, 0, FRAME / 4);
        // One way for each version, with constant offsets.
        if wrapped.length as usize == FRAME {
            name(data, flow);
            if CLASSIC {
                // SAFETY: within the 60 bytes checked above.
                let source = unsafe { ((data + SOURCE_ADDRESS - 2) as *const u32).read_unaligned() };
                look_up(source.into(), data + SOURCE_PORT);
            }
        } else {
            if data + LARGEST > end {
                return xdp_action::XDP_ABORTED;
            }
            copy(data, &wrapped.frame, FRAME / 4, LARGEST / 4);
            put(data + SOURCE_ADDRESS_6, (flow >> PORT_BITS) as u16);
            put(data + SOURCE_PORT_6, port(flow));
            if CLASSIC {
                // SAFETY: within the 80 bytes checked above.
                let source = unsafe { ((data + SOURCE_ADDRESS_6 - 6) as *const u64).read_unaligned() };
                look_up(source, data + SOURCE_PORT_6);
            }
        }
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { UNDER_TEST.tail_call(context, 0) };
        xdp_action::XDP_ABORTED
    }

    /// Words of a frame; the caller has checked all of them.
    #[inline(always)]
    fn copy(data: usize, frame: &[u32; LARGEST / 4], from: usize, to: usize) {
        let mut word = from;
        while word < to {
            // SAFETY: within what the caller has checked, and within the array, whose bound is the largest `to`.
            unsafe { ((data + word * 4) as *mut u32).write_unaligned(*frame.as_ptr().add(word)) };
            word += 1;
        }
    }

    /// The caller has checked four bytes at `ports`.
    #[inline(always)]
    fn look_up(source: u64, ports: usize) {
        // SAFETY: as the caller has checked.
        let ports = unsafe { (ports as *const u32).read_unaligned() };
        let connection = Connection { source, ports, protocol: 6 };
        if CONNECTIONS.get_ptr(&connection).is_none() {
            // A full table forgets another one, so it does not fail.
            let _ = CONNECTIONS.insert(&connection, &1, 0);
        }
    }

    /// Sends frames afresh: the kernel hands a live frame out again as it came back.
    #[xdp]
    fn generate(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + FRAME > end {
            return xdp_action::XDP_ABORTED;
        }
        let Some(stream) = STREAM.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
        // SAFETY: one generator runs at a time.
        let stream = unsafe { &mut *stream };
        // SAFETY: within the 60 bytes checked above.
        unsafe { (data as *mut [u32; FRAME / 4]).write_unaligned(stream.frame) };
        let number = stream.next;
        stream.next = number.wrapping_add(1);
        if stream.flood != 0 && number & 1 == 1 {
            // Behind the established flows, so that none is hit by chance.
            name(data, stream.flows + 1 + ((number >> 1).wrapping_mul(STRIDE) & stream.flood));
            // SAFETY: as above.
            unsafe { ((data + SEQUENCE) as *mut u32).write_unaligned(number.wrapping_mul(STRIDE)) };
            // SAFETY: as above.
            unsafe { ((data + FLAGS) as *mut u8).write(SYN) };
        } else {
            let number = if stream.flood != 0 { number >> 1 } else { number };
            name(data, number.wrapping_mul(STRIDE) & stream.flows);
            balance_checksums(data);
        }
        // SAFETY: a helper without pointers.
        unsafe { bpf_redirect(stream.to, 0) as u32 }
    }

    /// The caller has checked 54 bytes.
    #[inline(always)]
    fn name(data: usize, flow: u32) {
        put(data + SOURCE_ADDRESS, (flow >> PORT_BITS) as u16);
        put(data + SOURCE_PORT, port(flow));
    }

    #[inline(always)]
    fn port(flow: u32) -> u16 {
        FIRST_PORT + (flow & ((1 << PORT_BITS) - 1)) as u16
    }

    /// In network order, where the caller has checked two bytes.
    #[inline(always)]
    fn put(place: usize, value: u16) {
        // SAFETY: within what the caller has checked.
        unsafe { (place as *mut u16).write_unaligned(value.to_be()) };
    }

    /// Both checksums stay what they are in [`Stream::frame`], where address, port and these two words are zero (RFC 1071):
    /// a stack that looks at them takes every frame. The caller has checked all of [`FRAME`].
    #[inline(always)]
    fn balance_checksums(data: usize) {
        // SAFETY: within what the caller has checked.
        let address = unsafe { ((data + SOURCE_ADDRESS) as *const u16).read_unaligned() };
        // SAFETY: likewise.
        let port = unsafe { ((data + SOURCE_PORT) as *const u16).read_unaligned() };
        let sum = u32::from(address) + u32::from(port);
        // SAFETY: likewise.
        unsafe { ((data + IDENTIFICATION) as *mut u16).write_unaligned(!address) };
        // SAFETY: likewise.
        unsafe { ((data + DATA) as *mut u16).write_unaligned(!((sum & 0xffff) + (sum >> 16)) as u16) };
    }

    /// The ceiling of forwarding: the frame goes back to whom it came from.
    #[xdp]
    fn reflect(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + 14 > end {
            return xdp_action::XDP_ABORTED;
        }
        reflect_macs(data);
        xdp_action::XDP_TX
    }

    /// Back to whom it came from. The caller has checked 12 bytes.
    #[inline(always)]
    fn reflect_macs(data: usize) {
        let macs = data as *mut [u32; 3];
        // SAFETY: as the caller has checked.
        let [a, b, c] = unsafe { macs.read_unaligned() };
        // SAFETY: likewise.
        unsafe { macs.write_unaligned([b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16]) };
    }

    /// A host that answers a datagram over IPv4 without options, byte for byte: its checksum stays right.
    #[xdp]
    fn answer(context: XdpContext) -> u32 {
        const ADDRESSES: usize = 14 + 12;
        const PORTS: usize = 14 + 20;

        let data = context.data();
        if data + PORTS + 4 > context.data_end() {
            return xdp_action::XDP_ABORTED;
        }
        let (addresses, ports) = ((data + ADDRESSES) as *mut [u32; 2], (data + PORTS) as *mut [u16; 2]);
        // SAFETY: within what was checked above, as are the next three.
        let [from, to] = unsafe { addresses.read_unaligned() };
        // SAFETY: as above.
        unsafe { addresses.write_unaligned([to, from]) };
        // SAFETY: as above.
        let [from, to] = unsafe { ports.read_unaligned() };
        // SAFETY: as above.
        unsafe { ports.write_unaligned([to, from]) };
        reflect_macs(data);
        xdp_action::XDP_TX
    }

    /// The ceiling of dropping.
    #[xdp]
    fn discard(_: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    /// Where forwarded frames end: counts them.
    #[xdp]
    fn sink(context: XdpContext) -> u32 {
        if let Some(arrived) = ARRIVED.get_ptr_mut(0) {
            // SAFETY: this CPU's own, and an XDP program is not interrupted by itself.
            let arrived = unsafe { &mut *arrived };
            arrived.packets += 1;
            arrived.bytes += (context.data_end() - context.data()) as u64;
        }
        xdp_action::XDP_DROP
    }

    /// In place of `sink`: whether every frame of an established flow, forwarded as it came but for its MACs, is for the
    /// instance that its first one was for.
    #[xdp]
    fn audit(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + 54 > end {
            return xdp_action::XDP_DROP;
        }
        // SAFETY: within the 54 bytes checked above, as are the next three.
        let owner = unsafe { ((data + 2) as *const u32).read_unaligned() };
        // SAFETY: as above.
        let address = unsafe { ((data + SOURCE_ADDRESS) as *const u16).read_unaligned() };
        // SAFETY: as above.
        let port = unsafe { ((data + SOURCE_PORT) as *const u16).read_unaligned() };
        // SAFETY: as above.
        if unsafe { ((data + FLAGS) as *const u8).read() } & SYN != 0 {
            return xdp_action::XDP_DROP;
        }
        let flow = u32::from(u16::from_be(address)) << PORT_BITS
            | u32::from(u16::from_be(port).wrapping_sub(FIRST_PORT)) & ((1 << PORT_BITS) - 1);
        let (Some(first), Some(audit)) = (OWNERS.get_ptr_mut(flow), AUDIT.get_ptr_mut(0)) else {
            return xdp_action::XDP_DROP;
        };
        // SAFETY: one queue is served at a time, and nobody else writes.
        let (first, audit) = unsafe { (&mut *first, &mut *audit) };
        audit.packets += 1;
        if *first == 0 {
            *first = owner;
            audit.flows += 1;
        } else if *first != owner {
            audit.astray += 1;
        }
        xdp_action::XDP_DROP
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
