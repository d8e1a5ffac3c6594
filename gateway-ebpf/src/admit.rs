//! Who may come in: the VIP's sources, a service for the port, the service's sources.

use core::mem::offset_of;

use network_types::ip::IpProto;

use crate::{
    address::{Address, Flow, V4},
    frame::Frame,
    headers::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Tcp, Udp},
    icmp,
    layout::{self, BOUNDS, Block, SLOTS, SOURCE_SETS, Service, SourceSet, VIP_ECHO, Vip},
    parse::{Packet, Stop},
    reason::Reason,
    snat::layout::{BLOCK_PORTS, PORT_BLOCKS, SNAT_VIPS},
    steer::Segment,
    step::Step,
};

/// A packet that does not go on, and where that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// [`Vip::scope`] or [`Service::scope`]; 0: of no VIP.
    pub scope: u16,
    /// Why.
    pub stop: Stop,
}

/// What may be forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    /// Where it is counted: [`Service::scope`], or [`Vip::scope`].
    pub scope: u16,
    /// As [`Service::backend_port`].
    pub backend_port: u16,
    /// As [`Service::flags`].
    pub flags: u16,
    /// The instance that it answers, by whose leased port it came; 0: it is for a service, and the ring says whose.
    pub owner: u16,
    /// By which its instance is found.
    pub flow: Flow,
    /// Where the flow is in its life.
    pub segment: Segment,
}

impl Admitted {
    /// As it is told.
    pub const fn step(&self) -> Step {
        let Self { scope, owner, flow, segment, .. } = *self;
        if owner == 0 { Step::Service { scope, flow, segment } } else { Step::Leased { owner, flow } }
    }
}

/// Finds the service and asks its lists. Neighbour discovery is passed to the kernel, which answers it.
#[inline(always)]
pub fn admit<F: Frame, const FULL: bool>(
    frame: &F,
    block: &Block,
    vip: &Vip,
    packet: &Packet,
) -> Result<Admitted, Stopped> {
    let of_vip = |stop| Stopped { scope: vip.scope, stop };
    let (flow, segment) = transport::<_, FULL>(frame, packet, vip).map_err(of_vip)?;
    // An ICMP error comes from any router on the way, and may come from outside: what counts is the flow's client.
    if !may_reach(block, vip.sources, flow.source) {
        return Err(of_vip(Stop::Drop(Reason::Source)));
    }
    let key = Service::key(vip.scope, flow.protocol, flow.port());
    let slot = layout::slot(key, block.config.service_multiplier) & (SLOTS - 1);
    let service = &block.services[slot as usize];
    if service.key != key {
        if vip.leases != 0 {
            crate::rare();
            return leased(frame, block, vip, packet, flow, segment).map_err(|reason| of_vip(reason.into()));
        }
        let is_quote = matches!(segment, Segment::Quote);
        return Err(of_vip(Stop::Drop(if is_quote { Reason::IcmpQuote } else { Reason::NoService })));
    }
    if !may_reach(block, service.sources, flow.source) {
        return Err(Stopped { scope: service.scope, stop: Stop::Drop(Reason::Source) });
    }
    let Service { scope, backend_port, flags, .. } = *service;
    Ok(Admitted { scope, backend_port, flags, owner: 0, flow, segment })
}

/// What comes to a port by which flows of an instance leave (R21, R34). Who has spoken to whom, that instance knows; here nobody begins
/// a connection (R20).
#[inline(always)]
fn leased<F: Frame>(
    frame: &F,
    block: &Block,
    vip: &Vip,
    packet: &Packet,
    flow: Flow,
    segment: Segment,
) -> Result<Admitted, Reason> {
    let blocks = &block.leases[usize::from(vip.leases - 1) & (SNAT_VIPS - 1)];
    let port = flow.port();
    let owner = blocks[(u32::from(port) / BLOCK_PORTS) as usize & (PORT_BLOCKS - 1)];
    if owner == 0 {
        return Err(if matches!(segment, Segment::Quote) { Reason::IcmpQuote } else { Reason::NoService });
    }
    if matches!(segment, Segment::Syn { .. } | Segment::Tcp { .. }) {
        let flags = frame.read::<u8>(packet.payload + offset_of!(Tcp, flags)).ok_or(Reason::Truncated)?;
        if flags & (TCP_SYN | TCP_ACK) == TCP_SYN {
            return Err(Reason::SnatSyn);
        }
    }
    Ok(Admitted { scope: vip.scope, backend_port: port, flags: 0, owner, flow, segment })
}

/// Whether an echo request to a VIP is answered: one of those VIPs, from whom it may be reached, without options or extension
/// headers, which a reply would have to carry on (RFC 1122 §3.2.2.6).
#[inline(always)]
pub fn may_ping(block: &Block, vip: &Vip, packet: &Packet, plain: usize) -> Result<bool, Stopped> {
    if vip.flags & VIP_ECHO == 0 || packet.payload != packet.start + plain {
        return Ok(false);
    }
    if !may_reach(block, vip.sources, packet.source) {
        return Err(Stopped { scope: vip.scope, stop: Stop::Drop(Reason::Source) });
    }
    Ok(true)
}

/// The flow that a packet belongs to.
#[inline(always)]
fn transport<F: Frame, const FULL: bool>(
    frame: &F,
    packet: &Packet,
    vip: &Vip,
) -> Result<(Flow, Segment), Stop> {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    match packet.protocol {
        TCP => Ok(tcp(frame, packet)?),
        UDP => Ok(udp(frame, packet)?),
        ICMP | ICMPV6 if !FULL => Err(Stop::Slow),
        ICMP if vip.address.hi == V4 => icmp::v4(frame, packet, vip),
        ICMPV6 if vip.address.hi != V4 => icmp::v6(frame, packet, vip),
        _ => Err(Stop::Drop(Reason::Protocol)),
    }
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, packet: &Packet) -> Result<(Flow, Segment), Reason> {
    let Some(header) = frame.read::<Tcp>(packet.payload) else { return Err(Reason::Truncated) };
    let length = (header.offset >> 4) as usize * 4;
    if length < size_of::<Tcp>() {
        return Err(Reason::BadHeader);
    }
    if packet.payload + length > packet.end {
        return Err(Reason::BadLength);
    }
    let sequence = u32::from_be(header.sequence);
    let segment = match header.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN) {
        TCP_SYN => Segment::Syn { sequence },
        flags => Segment::Tcp { sequence, proves: flags == TCP_ACK },
    };
    let flow = Flow { source: packet.source, ports: u32::from_be(header.ports), protocol: packet.protocol };
    Ok((flow, segment))
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, packet: &Packet) -> Result<(Flow, Segment), Reason> {
    let Some(header) = frame.read::<Udp>(packet.payload) else { return Err(Reason::Truncated) };
    let length = u16::from_be(header.length) as usize;
    // Of a datagram in fragments, the first has the header at least.
    let here = if packet.part.is_whole() { length } else { size_of::<Udp>() };
    if length < size_of::<Udp>() || packet.payload + here > packet.end {
        return Err(Reason::BadLength);
    }
    let flow = Flow { source: packet.source, ports: u32::from_be(header.ports), protocol: packet.protocol };
    Ok((flow, Segment::Datagram))
}

/// Whether a source is in a set.
#[inline(always)]
pub fn may_reach(block: &Block, set: u16, source: Address) -> bool {
    set == 0 || contains(&block.sources[(u32::from(set) & (SOURCE_SETS - 1)) as usize], source)
}

/// Binary search for the number of bounds at or below the address, of which only the parity counts.
#[inline(always)]
pub fn contains(set: &SourceSet, address: Address) -> bool {
    let below = if address.hi == V4 {
        search(set, set.v4_half, |index| set.v4[index] <= address.lo)
    } else {
        search(set, set.v6_half, |index| {
            let hi = set.v6_hi[index];
            hi < address.hi || hi == address.hi && set.v6_lo[index] <= address.lo
        })
    };
    below & 1 == 1
}

/// How many bounds `is_below` holds for; they come first.
#[inline(always)]
fn search(set: &SourceSet, half: u32, is_below: impl Fn(usize) -> bool) -> u32 {
    const STEPS: u32 = BOUNDS.trailing_zeros();
    const MASK: u32 = BOUNDS as u32 - 1;
    let mut below = set.start & MASK;
    let mut half = half & MASK;
    for _ in 0..STEPS {
        if half == 0 {
            break;
        }
        if is_below(((below + half - 1) & MASK) as usize) {
            below = (below + half) & MASK;
        }
        half >>= 1;
    }
    below
}
