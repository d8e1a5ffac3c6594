//! The pipeline's two traits over `xdp_md` and BPF maps.

mod frame;
pub mod maps;
mod tables;

use aya_ebpf::{EbpfContext as _, bindings::xdp_action, programs::XdpContext};

use self::{frame::XdpFrame, tables::KernelTables};
use crate::pipeline::{self, Verdict};

/// Decides on the packet of an XDP program.
#[inline(always)]
pub fn balance(context: &XdpContext) -> u32 {
    match pipeline::balance(&mut XdpFrame::new(context.as_ptr().cast()), &KernelTables(context)) {
        Verdict::Pass | Verdict::Deliver => xdp_action::XDP_PASS,
        Verdict::Drop(_) => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
    }
}
