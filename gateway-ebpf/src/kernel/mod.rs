//! The pipeline's two traits over `xdp_md` and BPF maps.

mod frame;
pub mod maps;
mod probe;
mod route;
mod sample;
mod skb;
pub mod snat;
mod sockets;
mod tables;

use aya_ebpf::{EbpfContext as _, bindings::xdp_action, programs::XdpContext};

use self::{
    frame::XdpFrame,
    maps::{JOB, NEXT, NEXT_FINISH, NEXT_REPLY, NEXT_SLOW, PORTS},
    sockets::KernelSockets,
    tables::KernelTables,
};
pub use self::{
    probe::{arrive, leave},
    sample::sample,
};
use crate::{
    decap, finish,
    pipeline::{self, Verdict},
    reply,
};

/// Decides on the packet of an XDP program that knows what nearly every packet needs.
#[inline(always)]
pub fn fast(context: &XdpContext) -> u32 {
    let tables = KernelTables::new(context);
    let verdict = pipeline::fast(&mut XdpFrame::<false>::new(context.as_ptr().cast()), &tables);
    if verdict == Verdict::Slow {
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { NEXT.tail_call(context, NEXT_SLOW) };
    }
    reply_or(context, &tables, verdict)
}

/// Decides on the packet of an XDP program that knows everything, and leaves what is to be done to the next one.
#[inline(always)]
pub fn slow(context: &XdpContext) -> u32 {
    let tables = KernelTables::new(context);
    match pipeline::slow(&XdpFrame::<true>::new(context.as_ptr().cast()), &tables) {
        Ok(job) => {
            let Some(place) = JOB.get_ptr_mut(0) else { return xdp_action::XDP_DROP };
            // SAFETY: this CPU's own, and an XDP program is not interrupted by itself.
            unsafe { *place = job };
            // SAFETY: on success it does not return; on failure nothing happened.
            unsafe { NEXT.tail_call(context, NEXT_FINISH) };
            xdp_action::XDP_DROP
        }
        Err(verdict) => reply_or(context, &tables, verdict),
    }
}

#[inline(always)]
fn reply_or(context: &XdpContext, tables: &KernelTables<'_>, verdict: Verdict) -> u32 {
    if verdict == Verdict::Reply {
        // SAFETY: on success it does not return; on failure nothing happened.
        unsafe { NEXT.tail_call(context, NEXT_REPLY) };
    }
    action(tables, verdict)
}

/// Gives an instance's reply its VIP back.
#[inline(always)]
pub fn reply(context: &XdpContext) -> u32 {
    let tables = KernelTables::new(context);
    let verdict = reply::reply(&mut XdpFrame::<true>::new(context.as_ptr().cast()), &tables);
    action(&tables, verdict)
}

/// Does what is to be done.
#[inline(always)]
pub fn finish(context: &XdpContext) -> u32 {
    let Some(job) = JOB.get(0) else { return xdp_action::XDP_DROP };
    let frame = || XdpFrame::<true>::new(context.as_ptr().cast());
    let tables = KernelTables::new(context);
    let verdict = finish::finish(&mut frame(), &tables, job);
    // Frame and job are got anew: if they were kept while a drop is counted, the verifier would walk the counting, and then the
    // answers, once for every place that drops.
    let Some(job) = JOB.get(0) else { return xdp_action::XDP_DROP };
    let verdict = finish::answer(&mut frame(), &tables, job, verdict);
    action(&tables, verdict)
}

/// Takes packets out of the balancers' tunnels.
#[inline(always)]
pub fn unwrap(context: &XdpContext) -> u32 {
    let (tables, sockets) = (KernelTables::new(context), KernelSockets(context));
    let verdict = decap::decap(&mut XdpFrame::<true>::new(context.as_ptr().cast()), &tables, &sockets);
    action(&tables, verdict)
}

#[inline(always)]
fn action(tables: &KernelTables<'_>, verdict: Verdict) -> u32 {
    if let Verdict::Drop(_) = verdict {
        tables.show();
    }
    match verdict {
        Verdict::Pass | Verdict::Deliver => xdp_action::XDP_PASS,
        // The program that it is for is not there: nothing passes by it.
        Verdict::Drop(_) | Verdict::Slow | Verdict::Reply => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
        Verdict::Redirect(port) => PORTS.redirect(u32::from(port), 0).unwrap_or(xdp_action::XDP_ABORTED),
    }
}
