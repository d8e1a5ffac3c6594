//! The tables as BPF maps.

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};
use aya_log_ebpf::warn;

use super::maps::{
    BUCKETS, CONFIG, DROPS, INSTANCE, INSTANCE_TRAFFIC, SERVICE_TRAFFIC, SERVICES, SOURCES, TRANSITIONS, VIPS,
};
use crate::{
    address::Address,
    layout::{self, Bucket, Config, Instance, REASONS, Service, SourceSet, Traffic, Vip},
    reason::Reason,
    tables::{NoteLine, Tables},
};

/// The context is there for the log alone.
pub(super) struct KernelTables<'c>(pub(super) &'c XdpContext);

impl Tables for KernelTables<'_> {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn vip(&self, slot: u32) -> Option<&Vip> {
        VIPS.get(slot)
    }

    #[inline(always)]
    fn service(&self, slot: u32) -> Option<&Service> {
        SERVICES.get(slot)
    }

    #[inline(always)]
    fn sources(&self, set: u32) -> Option<&SourceSet> {
        SOURCES.get(set)
    }

    #[inline(always)]
    fn bucket(&self, ring: u32, bucket: u32) -> Option<Bucket> {
        if bucket as usize >= layout::BUCKETS {
            return None;
        }
        let words: *const u32 = BUCKETS.get_ptr(ring)?.cast();
        // SAFETY: the value has RING_WORDS words, more than `bucket`.
        let word = unsafe { words.add(bucket as usize) };
        // SAFETY: as above. User space may store to the word meanwhile, hence one load that is not repeated; this target has
        // no 32-bit atomics.
        Some(Bucket(unsafe { word.read_volatile() }))
    }

    #[inline(always)]
    fn instance(&self, number: u32) -> Option<&Instance> {
        INSTANCE.get(number)
    }

    #[inline(always)]
    fn notes(&self, line: u32) -> Option<&NoteLine> {
        // SAFETY: the value is eight aligned words that live as long as the program, and are only accessed atomically.
        TRANSITIONS.get_ptr(line).map(|words| unsafe { &*words.cast::<NoteLine>() })
    }

    #[inline(always)]
    fn epoch(&self) -> u8 {
        // SAFETY: a helper without arguments (kernel 5.11).
        (unsafe { bpf_ktime_get_coarse_ns() } >> 36) as u8
    }

    #[inline(always)]
    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        add(SERVICE_TRAFFIC.get_ptr_mut(u32::from(scope)), bytes, syn);
        add(INSTANCE_TRAFFIC.get_ptr_mut(u32::from(instance)), bytes, syn);
    }

    #[inline(always)]
    fn count_drop(&self, scope: u16, reason: Reason, source: Address) {
        let Some(counter) = DROPS.get_ptr_mut(u32::from(scope) * REASONS + reason as u32) else { return };
        // SAFETY: this CPU's own counter, and an XDP program is not interrupted by itself.
        let first = unsafe {
            *counter += 1;
            *counter == 1
        };
        if first {
            // Once for each scope, reason and CPU. User space puts names to the numbers.
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
        traffic.syns += syn;
    }
}
