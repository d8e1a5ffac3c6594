//! The kernel programs. Built for the host, this file is empty: see the library.
//!
//! All inlined: in a program that calls another function, verifiers before Linux 6.3 hold every number for worth knowing exactly,
//! and give up at a million instructions.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        macros::{classifier, xdp},
        programs::{TcContext, XdpContext},
    };

    /// On the balancer's interfaces: spreads the VIPs' traffic, drops what no service wants, passes everything else.
    #[xdp]
    #[inline(always)]
    fn gateway(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::fast(&context)
    }

    /// What `gateway` hands over.
    #[xdp]
    #[inline(always)]
    fn gateway_slow(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::slow(&context)
    }

    /// What `gateway_slow` decided.
    #[xdp]
    #[inline(always)]
    fn gateway_finish(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::finish(&context)
    }

    /// What any of them drops, if user space is to be shown it.
    #[xdp]
    #[inline(always)]
    fn gateway_sample(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::sample(&context)
    }

    /// What an instance sends to a client in nat mode.
    #[xdp]
    #[inline(always)]
    fn gateway_reply(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::reply(&context)
    }

    /// On an instance's interface: takes what its balancers send out of their tunnels.
    #[xdp]
    #[inline(always)]
    fn gateway_decap(context: XdpContext) -> u32 {
        gateway_ebpf::kernel::unwrap(&context)
    }

    /// What the balancer's host sends: gives its probes of a VIP the way that clients' packets have.
    #[classifier]
    #[inline(always)]
    fn gateway_leave(context: TcContext) -> i32 {
        gateway_ebpf::kernel::leave(&context)
    }

    /// What comes to the balancer's host: the answers to those.
    #[classifier]
    #[inline(always)]
    fn gateway_arrive(context: TcContext) -> i32 {
        gateway_ebpf::kernel::arrive(&context)
    }

    /// What an instance sends: gives what is for outside a public VIP as its source.
    #[classifier]
    #[inline(always)]
    fn gateway_snat_out(context: TcContext) -> i32 {
        gateway_ebpf::kernel::snat::leave(&context)
    }

    /// What `gateway_snat_out` hands over: a flow that begins.
    #[classifier]
    #[inline(always)]
    fn gateway_snat_new(context: TcContext) -> i32 {
        gateway_ebpf::kernel::snat::begin(&context)
    }

    /// What comes to an instance: the answers to that.
    #[classifier]
    #[inline(always)]
    fn gateway_snat_in(context: TcContext) -> i32 {
        gateway_ebpf::kernel::snat::arrive(&context)
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
