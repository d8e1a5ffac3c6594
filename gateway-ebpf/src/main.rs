//! The kernel programs. Built for the host, this file is empty: see the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{macros::xdp, programs::XdpContext};

    /// On the balancer's interfaces: spreads the VIPs' traffic, drops what no service wants, passes everything else.
    #[xdp]
    fn gateway(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::fast(&context)
    }

    /// What `gateway` hands over.
    #[xdp]
    fn gateway_slow(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::slow(&context)
    }

    /// What `gateway_slow` decided.
    #[xdp]
    fn gateway_finish(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::finish(&context)
    }

    /// What any of them drops, if user space is to be shown it.
    #[xdp]
    fn gateway_sample(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::sample(&context)
    }

    /// The kernel lets GPL-compatible programs use all helpers.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    /// Never reached: an object with a `panic` symbol does not pass `cargo xtask verify`.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
