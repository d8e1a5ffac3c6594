//! Packets of the host's stack, as programs of TC see them.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::{bpf_csum_update, bpf_l4_csum_replace, bpf_skb_adjust_room},
    programs::TcContext,
};

use super::{
    maps::{PROBES, TABLES},
    skb::Skb,
};
use crate::{
    checksum,
    frame::{Frame, Pod},
    headers::{Ethernet, Ipv6, Tcp},
    layout::{Block, Blocks, Probe, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6},
    parse::IpHeader,
    probe::{self, Probes, StackFrame, Verdict},
};

/// All headers that are looked at.
const HEADERS: usize = size_of::<Ethernet>() + size_of::<Ipv6>() + size_of::<Tcp>();

/// Gives the host's probes of a VIP the way of clients' packets.
#[inline(always)]
pub fn leave(context: &TcContext) -> i32 {
    let skb = context.skb.skb;
    action(probe::leave(&mut SkbFrame::new(skb), &KernelProbes(skb)))
}

/// Gives the answers to them the address that the socket knows.
#[inline(always)]
pub fn arrive(context: &TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the kernel hands every program of TC a valid context.
    if unsafe { (*skb).vlan_present } != 0 {
        // Another network's.
        return TC_ACT_UNSPEC;
    }
    action(probe::arrive(&mut SkbFrame::new(skb), &KernelProbes(skb)))
}

/// Whoever else has a program here sees the packet too.
#[inline(always)]
fn action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Untouched | Verdict::Rewritten => TC_ACT_UNSPEC,
        Verdict::Lost => TC_ACT_SHOT,
    }
}

struct KernelProbes(*mut __sk_buff);

impl Probes for KernelProbes {
    #[inline(always)]
    fn block(&self) -> Option<&Block> {
        TABLES.get(0).map(Blocks::active)
    }

    #[inline(always)]
    fn probe(&self, slot: u32) -> Option<&Probe> {
        PROBES.get(slot)
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the kernel hands every program of TC a valid context.
        unsafe { (*self.0).ifindex }
    }
}

/// A packet of a probe.
struct SkbFrame {
    skb: Skb,
    /// How the packet grows.
    room: u64,
}

impl SkbFrame {
    #[inline(always)]
    fn new(skb: *mut __sk_buff) -> Self {
        let mut skb = Skb::new(skb);
        skb.pull(HEADERS);
        Self { skb, room: 0 }
    }

    /// As in [`super::frame::XdpFrame`].
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let place = self.skb.data + offset;
        if place + size_of::<T>() > self.skb.data_end { None } else { Some(place as *mut T) }
    }
}

impl Frame for SkbFrame {
    #[inline(always)]
    fn length(&self) -> usize {
        self.skb.length()
    }

    #[inline(always)]
    fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        // SAFETY: the bytes are inside the packet, and every pattern is a `T`.
        self.at::<T>(offset).map(|place| unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: the bytes are inside the packet, which this program may write.
        unsafe { place.write_unaligned(value) };
        Some(())
    }

    /// Behind the Ethernet header, which stays in front: who grows a frame writes it anew anyhow. The kernel has to know what comes
    /// there, or it could not cut a long packet into segments.
    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        // SAFETY: the kernel's own context.
        let failed =
            unsafe { bpf_skb_adjust_room(self.skb.context, bytes as i32, BPF_ADJ_ROOM_MAC, self.room) };
        self.skb.refresh();
        if failed == 0 { Some(()) } else { None }
    }
}

impl StackFrame for SkbFrame {
    #[inline(always)]
    fn change_checksum<H: IpHeader>(&mut self, offset: usize, change: u64) -> Option<()> {
        // A sum of other byte order is the sum in other byte order (RFC 1071 §2B).
        let change = u32::from(checksum::fold(change).to_be());
        // SAFETY: the kernel's own context.
        let failed = unsafe {
            bpf_l4_csum_replace(self.skb.context, offset as u32, 0, change.into(), BPF_F_PSEUDO_HDR.into())
        };
        if !H::IS_V4 {
            // The helper takes the change away from the sum of the whole packet, where the card has computed one: right for IPv4, whose
            // header adds up to the same as before. With IPv6 address and checksum make up for each other. It refuses where there is no sum.
            // SAFETY: as above.
            unsafe { bpf_csum_update(self.skb.context, change) };
        }
        self.skb.refresh();
        if failed == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn tunnel(&mut self, way: u16) {
        self.room = match way {
            WAY_IPIP4 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV4.into(),
            WAY_IPIP6 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV6.into(),
            WAY_GUE4 => (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP).into(),
            WAY_GUE6 => (BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP).into(),
            _ => 0,
        };
    }
}
