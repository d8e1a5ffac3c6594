//! The pipeline's two traits over `xdp_md` and BPF maps.

mod frame;
pub mod maps;
mod tables;

use aya_ebpf::{EbpfContext as _, bindings::xdp_action, programs::XdpContext};

use self::{
    frame::XdpFrame,
    maps::{JOB, NEXT, NEXT_FINISH, NEXT_SLOW, PORTS},
    tables::KernelTables,
};
use crate::{
    finish,
    pipeline::{self, Verdict},
};

/// Decides on the packet of an XDP program that knows what nearly every packet needs.
#[inline(always)]
pub fn fast(context: &XdpContext) -> u32 {
    let verdict =
        pipeline::fast(&mut XdpFrame::<false>::new(context.as_ptr().cast()), &KernelTables(context));
    if verdict == Verdict::Slow {
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { NEXT.tail_call(context, NEXT_SLOW) };
    }
    action(verdict)
}

/// Decides on the packet of an XDP program that knows everything, and leaves what is to be done to the next one.
#[inline(always)]
pub fn slow(context: &XdpContext) -> u32 {
    match pipeline::slow(&XdpFrame::<true>::new(context.as_ptr().cast()), &KernelTables(context)) {
        Ok(job) => {
            let Some(place) = JOB.get_ptr_mut(0) else { return xdp_action::XDP_DROP };
            // SAFETY: this CPU's own, and an XDP program is not interrupted by itself.
            unsafe { *place = job };
            // SAFETY: on success it does not return; on failure nothing happened.
            unsafe { NEXT.tail_call(context, NEXT_FINISH) };
            xdp_action::XDP_DROP
        }
        Err(verdict) => action(verdict),
    }
}

/// Does what is to be done.
#[inline(always)]
pub fn finish(context: &XdpContext) -> u32 {
    let Some(job) = JOB.get(0) else { return xdp_action::XDP_DROP };
    let frame = || XdpFrame::<true>::new(context.as_ptr().cast());
    let verdict = finish::finish(&mut frame(), &KernelTables(context), job);
    // Frame and job are got anew: if they were kept while a drop is counted, the verifier would walk the counting, and then the
    // answers, once for every place that drops.
    let Some(job) = JOB.get(0) else { return xdp_action::XDP_DROP };
    action(finish::answer(&mut frame(), &KernelTables(context), job, verdict))
}

#[inline(always)]
fn action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass | Verdict::Deliver => xdp_action::XDP_PASS,
        // The slow program is not there: nothing of a VIP passes by it.
        Verdict::Drop(_) | Verdict::Slow => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
        Verdict::Redirect(port) => PORTS.redirect(u32::from(port), 0).unwrap_or(xdp_action::XDP_ABORTED),
    }
}
