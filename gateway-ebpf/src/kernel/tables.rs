//! The tables as BPF maps.

use aya_ebpf::{EbpfContext as _, helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};
use aya_log_ebpf::warn;

use super::{
    frame::XdpFrame,
    maps::{DROPS, FRAGMENTS, INSTANCE_TRAFFIC, SERVICE_TRAFFIC, TABLES, TRANSITIONS},
};
use crate::{
    address::Address,
    frame::Frame as _,
    headers::{Ipv4, Ipv6},
    layout::{Block, REASONS, Traffic},
    parse,
    reason::Reason,
    tables::{NoteLine, Tables},
};

/// The context is there for the log alone.
pub(super) struct KernelTables<'c>(pub(super) &'c XdpContext);

impl Tables for KernelTables<'_> {
    #[inline(always)]
    fn block(&self) -> Option<&Block> {
        TABLES.get(0)
    }

    #[inline(always)]
    fn notes(&self, line: u32) -> Option<&NoteLine> {
        // SAFETY: the value is eight aligned words that live as long as the program, and are only accessed atomically.
        TRANSITIONS.get_ptr(line).map(|words| unsafe { &*words.cast::<NoteLine>() })
    }

    #[inline(always)]
    fn fragments(&self, line: u32) -> Option<&NoteLine> {
        // SAFETY: as above.
        FRAGMENTS.get_ptr(line).map(|words| unsafe { &*words.cast::<NoteLine>() })
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments (kernel 5.11).
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the kernel hands every XDP program a valid context.
        unsafe { (*self.0.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        add(SERVICE_TRAFFIC.get_ptr_mut(u32::from(scope)), bytes, syn);
        add(INSTANCE_TRAFFIC.get_ptr_mut(u32::from(instance)), bytes, syn);
    }

    #[inline(always)]
    fn count_drop(&self, scope: u16, reason: Reason) {
        let Some(counter) = DROPS.get_ptr_mut(u32::from(scope) * REASONS + reason as u32) else { return };
        // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
        let first = unsafe {
            *counter += 1;
            *counter == 1
        };
        if first {
            // Once for each scope, reason and CPU. User space puts names to the numbers.
            let source = source(&XdpFrame::<true>::new(self.0.as_ptr().cast()));
            warn!(self.0, "drop scope={} reason={} hi={} lo={}", scope, reason as u8, source.hi, source.lo);
        }
    }
}

#[inline(always)]
fn add(traffic: Option<*mut Traffic>, bytes: u64, syn: u64) {
    if let Some(traffic) = traffic {
        // SAFETY: this CPU's own counters, and an XDP program is not interrupted by itself.
        let traffic = unsafe { &mut *traffic };
        traffic.packets += 1;
        traffic.bytes += bytes;
        // A branch that is nearly always predicted, instead of a load and a store.
        if syn != 0 {
            traffic.syns += syn;
        }
    }
}

/// Whom a frame is from: read again for the rare event, so that a packet on its way does not carry it.
#[inline(always)]
fn source(frame: &XdpFrame<true>) -> Address {
    match parse::link::<_, true>(frame, 1) {
        Ok(link) if link.ethertype == parse::IPV4 => {
            frame.read::<Ipv4>(link.end).map(|header| header.source())
        }
        Ok(link) if link.ethertype == parse::IPV6 => {
            frame.read::<Ipv6>(link.end).map(|header| header.source())
        }
        _ => None,
    }
    .unwrap_or_default()
}
