//! The tables as BPF maps.

use core::cell::Cell;

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};

use super::{
    maps::{
        ALLOWANCES, ANSWERS, DROPS, FRAGMENTS, INSTANCE_TRAFFIC, NEXT, NEXT_SAMPLE, SERVICE_TRAFFIC, SETTLED,
        TABLES, TRANSITIONS,
    },
    route,
    sample::Due,
};
use crate::{
    address::Address,
    layout::{Block, Blocks, REASONS, Traffic},
    note::Settled,
    reason::Reason,
    tables::{Answered, NoteLine, Route, Tables},
    word::Word,
};

/// And what has to be done once all is decided.
pub(super) struct KernelTables<'c> {
    context: &'c XdpContext,
    /// The drop that was counted last.
    due: Cell<Due>,
}

impl<'c> KernelTables<'c> {
    #[inline(always)]
    pub(super) const fn new(context: &'c XdpContext) -> Self {
        Self { context, due: Cell::new(Due::NONE) }
    }

    /// Does not return if the drop that was counted is to be shown.
    #[inline(always)]
    pub(super) fn show(&self) {
        if !self.due.get().is_none() && self.due.get().leave().is_some() {
            // SAFETY: on success it does not return; on failure nothing happened.
            unsafe { NEXT.tail_call(self.context, NEXT_SAMPLE) };
        }
    }
}

impl Tables for KernelTables<'_> {
    #[inline(always)]
    fn block(&self) -> Option<&Block> {
        TABLES.get(0).map(Blocks::active)
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
    fn allowance(&self, index: u32) -> Option<&Word> {
        // SAFETY: an aligned word that lives as long as the program, and is only accessed whole.
        ALLOWANCES.get_ptr(index).map(|word| unsafe { &*word.cast::<Word>() })
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments (kernel 5.11).
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the kernel hands every XDP program a valid context.
        unsafe { (*self.context.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn route(&self, source: Address, destination: Address, protocol: u8, length: u16) -> Route {
        route::look_up(self.context, source, destination, protocol, length)
    }

    #[inline(always)]
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        add(SERVICE_TRAFFIC.get_ptr_mut(u32::from(scope)), bytes, syn);
        add(INSTANCE_TRAFFIC.get_ptr_mut(u32::from(instance)), bytes, syn);
    }

    #[inline(always)]
    fn count_settled(&self, settled: Settled) {
        if let Some(counter) = SETTLED.get_ptr_mut(settled as u32) {
            // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
            unsafe { *counter += 1 };
        }
    }

    #[inline(always)]
    fn count_drop(&self, scope: u16, reason: Reason) {
        let Some(counter) = DROPS.get_ptr_mut(u32::from(scope) * REASONS + reason as u32) else { return };
        // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
        let count = unsafe {
            *counter += 1;
            *counter
        };
        self.due.set(Due::new(scope, reason, count));
    }

    #[inline(always)]
    fn count_answer(&self, answered: Answered) {
        if let Some(counter) = ANSWERS.get_ptr_mut(answered as u32) {
            // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
            unsafe { *counter += 1 };
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
