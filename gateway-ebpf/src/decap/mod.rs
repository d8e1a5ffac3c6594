//! The instance's side of `ipip` and `gue`: takes the outer header off what the balancers send, and settles whose a segment of
//! a moved bucket is.
//!
//! A host that unwraps whatever it is sent is a way into its network for everyone (CVE-2020-10136, CVE-2024-7596). So the outer
//! source has to be one of the balancers, the frame has to come by the interface that leads to them, and the packet inside
//! has to be one that a balancer would have let in: the very same code decides ([`admit`]). What is no tunnel's passes
//! untouched (R24); what is one never does, so that no tunnel of the kernel's own takes it either.

mod congestion;
mod hops;
mod outer;
mod sockets;

pub use self::{
    congestion::decapsulated,
    sockets::{Asked, Owner, Settled, Sockets},
};
use network_types::ip::IpProto;

use self::{congestion::Marked, outer::Outer};
use crate::{
    address::{Address, V4},
    admit::{self, Admitted, Stopped},
    fragment,
    frame::{Frame, Shrink},
    headers::{Ipv4, Ipv6, Macs},
    layout::{Block, SELF, SLOTS, VIP_TUNNEL},
    parse::{self, ETHERNET, Packet, Stop},
    pipeline::{self, NOT_OURS, Verdict},
    reason::Reason,
    steer::Segment,
    tables::Tables,
};

/// Decides on one frame, and unwraps it, or hands it on to another instance.
#[inline(always)]
pub fn decap<F: Shrink, T: Tables, S: Sockets>(frame: &mut F, tables: &T, sockets: &S) -> Verdict {
    decide(frame, tables, sockets).unwrap_or_else(|stopped| pipeline::stop(tables, stopped))
}

#[inline(always)]
fn decide<F: Shrink, T: Tables, S: Sockets>(
    frame: &mut F,
    tables: &T,
    sockets: &S,
) -> Result<Verdict, Stopped> {
    let Some(block) = tables.block() else { return Err(NOT_OURS) };
    let link = pipeline::link::<_, true>(frame, block)?;
    let outer = match link.ethertype {
        parse::IPV4 => outer::find::<_, _, Ipv4>(frame, tables, block, &link)?,
        parse::IPV6 => outer::find::<_, _, Ipv6>(frame, tables, block, &link)?,
        _ => return Err(NOT_OURS),
    };
    if outer.carries_v4 != 0 {
        inner::<_, _, _, Ipv4>(frame, tables, sockets, block, &outer)
    } else {
        inner::<_, _, _, Ipv6>(frame, tables, sockets, block, &outer)
    }
}

/// Judges the packet inside, and does what is to be done with it.
#[inline(always)]
fn inner<F: Shrink, T: Tables, S: Sockets, H: Marked>(
    frame: &mut F,
    tables: &T,
    sockets: &S,
    block: &Block,
    outer: &Outer<'_>,
) -> Result<Verdict, Stopped> {
    let of_tunnel = |reason| Stopped { scope: outer.scope, stop: Stop::Drop(reason) };
    let Some(header) = frame.read::<H>(outer.start) else { return Err(of_tunnel(Reason::Truncated)) };
    let destination = header.destination();
    let vip = &block.vips[(destination.slot(block.config.vip_multiplier) & (SLOTS - 1)) as usize];
    // A tunnel in a tunnel is for an address where tunnels end, which is no VIP.
    if vip.address != destination || (destination.hi == V4) != H::IS_V4 || vip.flags & VIP_TUNNEL != 0 {
        return Err(of_tunnel(Reason::NotVip));
    }
    let of_vip = |stop| refused(Stopped { scope: vip.scope, stop });
    let packet = header.packet::<_, true>(frame, outer.start).map_err(of_vip)?.forget(block.config.one);
    if packet.end != outer.end {
        return Err(of_vip(Stop::Drop(Reason::BadLength)));
    }
    fragment::check(vip, &packet).map_err(|reason| of_vip(reason.into()))?;
    let (scope, syns) = if packet.part.is_later() {
        // It has no ports to judge; but without the first one, which has, nobody can put the datagram together.
        if !admit::may_reach(block, vip.sources, packet.source) {
            return Err(of_vip(Stop::Drop(Reason::Source)));
        }
        (vip.scope, 0)
    } else {
        let admitted = admit::admit::<_, true>(frame, block, vip, &packet).map_err(refused)?;
        let of_service = |stop| Stopped { scope: admitted.scope, stop };
        if outer.hops != 0 {
            let is_stale = hops::is_stale(frame, sockets, outer);
            match owned(frame, sockets, vip.address, &header, &packet, &admitted) {
                Some(how) => sockets.settle(how),
                None => {
                    if let Some(next) = hops::next(frame, block, outer) {
                        sockets.settle(Settled::Forwarded);
                        return hops::pass_on(frame, outer, &next).map_err(of_service);
                    }
                    if is_stale {
                        sockets.settle(Settled::Stale);
                        return Err(of_service(Stop::Drop(Reason::Stale)));
                    }
                    sockets.settle(Settled::Last);
                }
            }
        }
        (admitted.scope, admitted.segment.syns())
    };
    let of_service = |stop| Stopped { scope, stop };
    let service =
        decapsulated(outer.service, header.service()).ok_or(of_service(Stop::Drop(Reason::Congestion)))?;
    let bytes = frame.length() as u64;
    header.mark(frame, outer.start, service).ok_or(of_service(Stop::Drop(Reason::Truncated)))?;
    unwrap::<_, H>(frame, outer.start).ok_or(of_service(Stop::Drop(Reason::Truncated)))?;
    tables.count(scope, SELF, bytes, syns);
    Ok(Verdict::Deliver)
}

/// Nothing that came in a tunnel goes up the stack in it: neighbours of a VIP ask on their link, not through here.
#[inline(always)]
fn refused(stopped: Stopped) -> Stopped {
    let stop = if stopped.stop == Stop::Pass { Stop::Drop(Reason::IcmpType) } else { stopped.stop };
    Stopped { stop, ..stopped }
}

/// How a packet of a moved bucket is this host's, if it is as far as its sockets tell.
#[inline(always)]
fn owned<F: Frame, S: Sockets, H: Marked>(
    frame: &F,
    sockets: &S,
    vip: Address,
    header: &H,
    packet: &Packet,
    admitted: &Admitted,
) -> Option<Settled> {
    let segment = match admitted.segment {
        // UDP has no connections that could be asked for.
        _ if admitted.flow.protocol != IpProto::Tcp as u8 => return Some(Settled::Datagram),
        Segment::Syn { .. } => return Some(Settled::Syn),
        Segment::Tcp { proves: true, .. } => Some(packet.payload),
        _ => None,
    };
    match sockets.owner(frame, &Asked { flow: &admitted.flow, vip, header, segment }) {
        Owner::Socket => Some(Settled::Socket),
        Owner::Cookie => Some(Settled::Cookie),
        Owner::Nobody => None,
    }
}

/// Takes away all between the link's header and the packet, and says in that header what follows it now.
#[inline(always)]
fn unwrap<F: Shrink, H: Marked>(frame: &mut F, start: usize) -> Option<()> {
    let macs = frame.read::<Macs>(0)?;
    frame.shrink(start - ETHERNET)?;
    frame.write(0, macs)?;
    frame.write(size_of::<Macs>(), if H::IS_V4 { parse::IPV4 } else { parse::IPV6 }.to_be())
}
