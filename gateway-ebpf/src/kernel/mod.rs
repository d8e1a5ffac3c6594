//! The pipeline's two traits over `xdp_md` and BPF maps.

mod frame;
pub mod maps;
mod route;
mod tables;

use aya_ebpf::{EbpfContext as _, bindings::xdp_action, programs::XdpContext};

use self::{
    frame::XdpFrame,
    maps::{JOB, NEXT, NEXT_FINISH, NEXT_REPLY, NEXT_SLOW, PORTS},
    tables::KernelTables,
};
use crate::{
    finish,
    pipeline::{self, Verdict},
    reply,
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
    reply_or(context, verdict)
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
        Err(verdict) => reply_or(context, verdict),
    }
}

#[inline(always)]
fn reply_or(context: &XdpContext, verdict: Verdict) -> u32 {
    if verdict == Verdict::Reply {
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { NEXT.tail_call(context, NEXT_REPLY) };
    }
    action(verdict)
}

/// Gives an instance's reply its VIP back.
#[inline(always)]
pub fn reply(context: &XdpContext) -> u32 {
    action(reply::reply(&mut XdpFrame::<true>::new(context.as_ptr().cast()), &KernelTables(context)))
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
        // The program that it is for is not there: nothing passes by it.
        Verdict::Drop(_) | Verdict::Slow | Verdict::Reply => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
        Verdict::Redirect(port) => PORTS.redirect(u32::from(port), 0).unwrap_or(xdp_action::XDP_ABORTED),
    }
}
