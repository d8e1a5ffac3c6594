//! The data plane of gateway: one packet pipeline, compiled for the kernel and for the host.
//!
//! ```text
//! frame ─► parse ─► admit ─► steer ─► rewrite ─► transmit
//!          L2/L3/L4  VIP, port, bucket →   MAC, IPIP, TX, redirect, pass,
//!          ICMP quote source    instance   GUE, NAT,  drop(reason)
//!                                          answer
//! ```
//!
//! [`pipeline::balance`] is generic over two small traits: [`frame::Frame`], bounds-checked access to a packet, and
//! [`tables::Tables`], what the control plane decided. The kernel build runs it over `xdp_md` and BPF maps, the host build
//! ([`host`]) over a byte vector and ordinary vectors, so that tests decide with the very code that decides in the kernel.
//!
//! Everything on the packet's way is `#[inline(always)]`: the verifier then sees one function, and LLVM cannot outline a
//! piece that takes packet pointers as integers (which the verifier refuses).
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    feature(asm_experimental_arch, core_intrinsics),
    expect(internal_features, reason = "no stable way to tell LLVM what is rare")
)]

pub mod address;
pub mod admit;
pub mod answer;
pub mod checksum;
pub mod decap;
pub mod encapsulate;
pub mod finish;
pub mod fragment;
pub mod frame;
pub mod headers;
pub mod hops;
pub mod icmp;
pub mod layout;
pub mod limit;
pub mod nat;
pub mod note;
pub mod parse;
pub mod pipeline;
pub mod probe;
pub mod reason;
pub mod reply;
pub mod rewrite;
pub mod snat;
pub mod steer;
pub mod step;
pub mod tables;
pub mod version;
pub mod word;

#[cfg(not(target_arch = "bpf"))]
pub mod host;
#[cfg(target_arch = "bpf")]
pub mod kernel;

/// Says that few packets come here: registers are then given to those that do not.
#[inline(always)]
pub(crate) const fn rare() {
    #[cfg(target_arch = "bpf")]
    core::intrinsics::cold_path();
}
