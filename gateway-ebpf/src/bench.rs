//! Programs for `cargo xtask bench`, apart from the object that is shipped. Built for the host, this file is empty.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::xdp_action,
        helpers::bpf_redirect,
        macros::{map, xdp},
        maps::{Array, PerCpuArray, ProgramArray},
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

    /// How many flows there are, and which comes next.
    #[repr(C)]
    struct Flows {
        next: u32,
        count: u32,
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
    static FLOWS: PerCpuArray<Flows> = PerCpuArray::with_max_entries(1, 0);
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

    /// Makes the frame, TCP over IPv4 without options, one of the next flow, then calls the program under test.
    #[xdp]
    fn vary(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + 54 > end {
            return xdp_action::XDP_ABORTED;
        }
        let Some(flows) = FLOWS.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
        // SAFETY: this CPU's own, and test runs do not overlap on it.
        let flows = unsafe { &mut *flows };
        let flow = flows.next;
        flows.next = if flow + 1 < flows.count { flow + 1 } else { 0 };
        name(data, flow);
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { UNDER_TEST.tail_call(&context, 0) };
        xdp_action::XDP_ABORTED
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
        let port = FIRST_PORT + (flow & ((1 << PORT_BITS) - 1)) as u16;
        // SAFETY: within what the caller has checked.
        unsafe {
            ((data + SOURCE_ADDRESS) as *mut u16).write_unaligned(((flow >> PORT_BITS) as u16).to_be())
        };
        // SAFETY: likewise.
        unsafe { ((data + SOURCE_PORT) as *mut u16).write_unaligned(port.to_be()) };
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
        let macs = data as *mut [u32; 3];
        // SAFETY: the first 12 of the 14 bytes checked above.
        let [a, b, c] = unsafe { macs.read_unaligned() };
        // SAFETY: likewise.
        unsafe { macs.write_unaligned([b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16]) };
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
