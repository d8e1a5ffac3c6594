//! A packet of the host's stack, as far as it lies in one piece.

use core::arch::asm;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{bpf_csum_update, bpf_l4_csum_replace},
};
use network_types::ip::IpProto;

use crate::{
    checksum,
    frame::{Frame, Pod},
    headers::{Ethernet, Ipv4, Ipv6, Tcp},
    kernel::skb::Skb,
    parse::{self, IpHeader},
    snat::map::Sums,
};

/// All that is looked at of TCP and UDP: what the kernel makes of TCP has no more in one piece, and what is cloned of it would be copied.
const HEADERS_V4: usize = size_of::<Ethernet>() + size_of::<Ipv4>() + size_of::<Tcp>();
/// As above.
const HEADERS_V6: usize = size_of::<Ethernet>() + size_of::<Ipv6>() + size_of::<Tcp>();
/// Of anything else: extension headers, what an ICMP error quotes, options.
const ALL_HEADERS: usize = 512;

pub(super) struct SkbFrame(Skb);

impl SkbFrame {
    #[inline(always)]
    pub(super) fn new(skb: *mut __sk_buff) -> Self {
        let mut frame = Self(Skb::new(skb));
        let wanted = frame.wanted();
        frame.0.pull(wanted);
        frame
    }

    /// How much has to lie in one piece.
    #[inline(always)]
    fn wanted(&self) -> usize {
        const TCP: u8 = IpProto::Tcp as u8;
        const UDP: u8 = IpProto::Udp as u8;
        let Some(ethernet) = self.read::<Ethernet>(0) else { return ALL_HEADERS };
        let end = size_of::<Ethernet>();
        match u16::from_be(ethernet.ethertype) {
            parse::IPV4 => match self.read::<Ipv4>(end) {
                Some(header) if header.version_length == 0x45 && matches!(header.protocol, TCP | UDP) => {
                    HEADERS_V4
                }
                _ => ALL_HEADERS,
            },
            parse::IPV6 => match self.read::<Ipv6>(end) {
                Some(header) if matches!(header.next_header, TCP | UDP) => HEADERS_V6,
                _ => ALL_HEADERS,
            },
            _ => 0,
        }
    }

    /// As in [`crate::kernel::frame::XdpFrame`], whose offsets vary too.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let mut offset = offset;
        // SAFETY: a move to where it is.
        unsafe { asm!("{0} = {0}", inout(reg) offset, options(pure, nomem, preserves_flags, nostack)) };
        let place = self.0.data + (offset & 0x3fff);
        // With one byte it would be a comparison of which the verifier learns nothing. No packet has its last one read here.
        let size = if size_of::<T>() == 1 { 2 } else { size_of::<T>() };
        if place + size > self.0.data_end { None } else { Some(place as *mut T) }
    }

    /// Adds to a checksum by the helper that knows whether it is finished. A sum of other byte order is the sum in other byte order
    /// (RFC 1071 §2B).
    #[inline(always)]
    fn replace(&mut self, offset: usize, change: u64, flags: u32) -> Option<()> {
        let change = u32::from(checksum::fold(change).to_be());
        // SAFETY: the kernel's own context.
        let failed =
            unsafe { bpf_l4_csum_replace(self.0.context, offset as u32, 0, change.into(), flags.into()) };
        if failed == 0 { Some(()) } else { None }
    }
}

impl Frame for SkbFrame {
    #[inline(always)]
    fn length(&self) -> usize {
        self.0.length()
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

    /// Nothing is put around packets here.
    #[inline(always)]
    fn grow(&mut self, _: usize) -> Option<()> {
        None
    }
}

impl Sums for SkbFrame {
    #[inline(always)]
    fn forget(&mut self) {
        self.0.refresh();
    }

    #[inline(always)]
    fn change_sum<H: IpHeader>(&mut self, offset: usize, protocol: u8, pseudo: u64, own: u64) -> Option<()> {
        const UDP: u8 = IpProto::Udp as u8;
        // RFC 768: zero is no checksum, and a checksum of zero is sent as its other form.
        let of_udp = if protocol == UDP { BPF_F_MARK_MANGLED_0 } else { 0 };
        if pseudo != 0 {
            self.replace(offset, pseudo, BPF_F_PSEUDO_HDR | of_udp)?;
            if !H::IS_V4 {
                // The helper takes the change away from the sum of the whole packet, where the card has computed one: right for IPv4,
                // whose header adds up to the same as before. With IPv6 address and checksum make up for each other. It refuses where
                // there is no sum.
                // SAFETY: the kernel's own context.
                unsafe { bpf_csum_update(self.0.context, u32::from(checksum::fold(pseudo).to_be())) };
            }
        }
        // Where a card finishes the sum, it has to be left alone: the helper knows.
        self.replace(offset, own, of_udp)?;
        self.0.refresh();
        Some(())
    }
}
