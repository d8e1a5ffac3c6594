//! The outer header of a frame.

use network_types::ip::IpProto;

use crate::{
    address::V4,
    admit::Stopped,
    frame::Frame,
    headers::{GUE_PORT, Gue, Hops, Ipv4, Ipv6, Udp},
    layout::{Block, Interface, SLOTS, VIP_TUNNEL},
    parse::{self, ETHERNET, IpHeader, Link, Stop},
    pipeline::{self, NOT_OURS},
    reason::Reason,
    tables::Tables,
};

const IN_V4: u8 = IpProto::Ipv4 as u8;
const IN_V6: u8 = IpProto::Ipv6 as u8;
const UDP: u8 = IpProto::Udp as u8;

/// A balancer's outer header that is sound and whole. Numbers that only the frame's kind makes differ are such that the
/// verifier takes them for unknown: else it would walk the rest of the program once for each kind.
pub(super) struct Outer<'b> {
    /// By which it came.
    pub(super) interface: &'b Interface,
    /// Where drops are counted: of this host's address.
    pub(super) scope: u16,
    /// 1 if it is IPv4 itself.
    pub(super) is_v4: u8,
    /// 1 if the packet inside is IPv4.
    pub(super) carries_v4: u8,
    /// Type of service or traffic class.
    pub(super) service: u8,
    /// Where the packet inside begins.
    pub(super) start: usize,
    /// Where it has to end.
    pub(super) end: usize,
    /// Where [`Hops`] are; 0: nowhere.
    pub(super) hops: usize,
}

/// What an outer header may carry, and whether it is one that balancers do not send: with options, or of a fragment.
pub(super) struct Carried {
    protocol: u8,
    payload: usize,
    is_odd: bool,
}

/// The headers that differ.
pub(super) trait OuterHeader: IpHeader {
    fn carried<F: Frame>(&self, frame: &F, offset: usize) -> Option<Carried>;
    /// Bytes of the packet, header included.
    fn length(&self) -> usize;
}

impl OuterHeader for Ipv4 {
    #[inline(always)]
    fn carried<F: Frame>(&self, _: &F, offset: usize) -> Option<Carried> {
        // A later fragment shows no port; but without the first one, nobody can put the datagram together.
        if self.protocol == UDP && u16::from_be(self.fragment) & 0x1fff != 0 {
            return None;
        }
        let is_odd = self.version_length != 0x45 || self.is_fragment();
        Some(Carried { protocol: self.protocol, payload: offset + self.header_length(), is_odd })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        u16::from_be(self.total_length).into()
    }
}

impl OuterHeader for Ipv6 {
    #[inline(always)]
    fn carried<F: Frame>(&self, frame: &F, offset: usize) -> Option<Carried> {
        let payload = offset + Self::LENGTH;
        let chain = match parse::extensions(frame, self.next_header, payload) {
            Ok(chain) => chain,
            // What is behind so many is not known, and no tunnel of the kernel's is to find out.
            Err(Reason::ExtensionDepth | Reason::RoutingHeader) => {
                return Some(Carried { protocol: IN_V6, payload, is_odd: true });
            }
            Err(_) => return None,
        };
        // As over IPv4.
        if chain.protocol == UDP && chain.part.is_later() {
            return None;
        }
        let is_odd = chain.payload != payload || !self.is_valid();
        Some(Carried { protocol: chain.protocol, payload: chain.payload, is_odd })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        Self::LENGTH + usize::from(u16::from_be(self.payload_length))
    }
}

/// The outer header, if the frame is a tunnel's to this host.
#[inline(always)]
pub(super) fn find<'b, F: Frame, T: Tables, H: OuterHeader>(
    frame: &F,
    tables: &T,
    block: &'b Block,
    link: &Link,
) -> Result<Outer<'b>, Stopped> {
    let Some(header) = frame.read::<H>(link.end) else { return Err(NOT_OURS) };
    let destination = header.destination();
    let here = &block.vips[(destination.slot(block.config.vip_multiplier) & (SLOTS - 1)) as usize];
    let is_here = here.address == destination && (destination.hi == V4) == H::IS_V4;
    if !is_here || here.flags & VIP_TUNNEL == 0 {
        return Err(NOT_OURS);
    }
    let Some(carried) = header.carried(frame, link.end) else { return Err(NOT_OURS) };
    let is_tunnel = match carried.protocol {
        IN_V4 | IN_V6 => true,
        UDP => frame.read::<u16>(carried.payload + 2) == Some(GUE_PORT.to_be()),
        _ => false,
    };
    if !is_tunnel {
        return Err(NOT_OURS);
    }
    let drop = |reason| Stopped { scope: here.scope, stop: Stop::Drop(reason) };
    let interface = pipeline::ingress(frame, tables, block, here, link)
        .map_err(|stop| Stopped { scope: here.scope, stop })?;
    if !block.is_peer(header.source()) {
        return Err(drop(Reason::Stranger));
    }
    if carried.is_odd || link.end != ETHERNET {
        return Err(drop(Reason::OuterHeader));
    }
    let content = ETHERNET + size_of::<H>();
    let end = ETHERNET + header.length();
    if end < content || end > frame.length() {
        return Err(drop(Reason::OuterLength));
    }
    let (protocol, start, hops) = match carried.protocol {
        UDP => gue(frame, content, end).map_err(drop)?,
        protocol => (protocol, content, 0),
    };
    // Zero, which the verifier does not know. (A product with an unknown number would not do: it knows what zero times that is.)
    let nothing = block.config.one.wrapping_sub(1);
    let any = |number: usize| (number as u64).wrapping_add(nothing) as usize & 127;
    Ok(Outer {
        interface,
        scope: here.scope,
        is_v4: any(H::IS_V4.into()) as u8,
        carries_v4: any((protocol == IN_V4).into()) as u8,
        service: header.service(),
        start: any(start),
        end: (end as u64).wrapping_add(nothing) as usize & 0x1_ffff,
        hops: any(hops),
    })
}

/// UDP and GUE (draft-ietf-intarea-gue-09 §3): protocol and place of the packet inside, and the place of the hops. The UDP
/// checksum is not looked at: over IPv4 there is none, and over IPv6 the packet inside has its own, which the stack checks.
#[inline(always)]
fn gue<F: Frame>(frame: &F, offset: usize, end: usize) -> Result<(u8, usize, usize), Reason> {
    const WORDS: u8 = (size_of::<Hops>() / 4) as u8;

    let Some(udp) = frame.read::<Udp>(offset) else { return Err(Reason::OuterLength) };
    if usize::from(u16::from_be(udp.length)) != end - offset {
        return Err(Reason::OuterLength);
    }
    let Some(gue) = frame.read::<Gue>(offset + size_of::<Udp>()) else { return Err(Reason::OuterLength) };
    if gue.flags != 0 || gue.protocol != IN_V4 && gue.protocol != IN_V6 {
        return Err(Reason::Gue);
    }
    let behind = offset + size_of::<Udp>() + size_of::<Gue>();
    // Variant 0 and no control message; what takes words, without flags that would name it, is private data.
    match gue.variant_length {
        0 => Ok((gue.protocol, behind, 0)),
        WORDS => Ok((gue.protocol, behind + size_of::<Hops>(), behind)),
        _ => Err(Reason::Gue),
    }
}
