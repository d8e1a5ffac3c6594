//! Programs for `cargo xtask bench packets`, apart from the object that is shipped. Built for the host, this file is empty.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::xdp_action,
        macros::{map, xdp},
        maps::{PerCpuArray, ProgramArray},
        programs::XdpContext,
    };

    /// How many flows there are, and which comes next.
    #[repr(C)]
    struct Flows {
        next: u32,
        count: u32,
    }

    #[map]
    static FLOWS: PerCpuArray<Flows> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// The floor: what the kernel needs to call a program at all.
    #[xdp]
    fn empty(_: XdpContext) -> u32 {
        xdp_action::XDP_TX
    }

    /// Makes the frame, TCP over IPv4 without options, one of the next flow, then calls the program under test.
    #[xdp]
    fn vary(context: XdpContext) -> u32 {
        const SOURCE_ADDRESS: usize = 14 + 12 + 2;
        const SOURCE_PORT: usize = 14 + 20;
        let (data, end) = (context.data(), context.data_end());
        if data + 54 > end {
            return xdp_action::XDP_ABORTED;
        }
        let Some(flows) = FLOWS.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
        // SAFETY: this CPU's own, and test runs do not overlap on it.
        let flows = unsafe { &mut *flows };
        let flow = flows.next;
        flows.next = if flow + 1 < flows.count { flow + 1 } else { 0 };
        // SAFETY: within the 54 bytes checked above.
        unsafe { ((data + SOURCE_ADDRESS) as *mut u16).write_unaligned(((flow >> 12) as u16).to_be()) };
        // SAFETY: likewise.
        unsafe { ((data + SOURCE_PORT) as *mut u16).write_unaligned((1024 + (flow & 0xfff) as u16).to_be()) };
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { UNDER_TEST.tail_call(&context, 0) };
        xdp_action::XDP_ABORTED
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
