//! The whole way of a packet.
//!
//! It is built twice. The *fast* program knows what nearly every packet is: TCP or UDP without tags, options, extension headers
//! or fragments. Whatever else concerns a VIP it hands to the *slow* program ([`Verdict::Slow`]), which knows everything and decides
//! anew from the frame, so nothing is carried over. That one does not rewrite: what has to be done is a [`Job`], which a third
//! program does ([`crate::finish`]). So the verifier walks all ways to decide and all ways to rewrite, and not their product.

#[cfg(not(target_arch = "bpf"))]
use crate::finish;
use crate::{
    address::V4,
    admit::{self, Admitted, Stopped},
    finish::{Job, TASK_FORWARD},
    fragment,
    frame::Frame,
    headers::{Ipv4, Ipv6},
    layout::{self, Block, INSTANCES, INTERFACES, Interface, SLOTS, Vip},
    parse::{self, IpHeader, Link, Packet, Stop},
    reason::Reason,
    rewrite,
    steer::{self, Steered},
    tables::Tables,
};

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not for a VIP, or for the kernel to answer: untouched, up the stack.
    Pass,
    /// Counted under its reason.
    Drop(Reason),
    /// Rewritten: out of the interface it came in by.
    Transmit,
    /// Rewritten: out of the interface at this place in the device map.
    Redirect(u16),
    /// Its instance is this host: untouched, up the stack.
    Deliver,
    /// Untouched and not counted: the slow program's.
    Slow,
}

/// Decides on one packet, and rewrites it where it is forwarded: what the programs together do.
#[cfg(not(target_arch = "bpf"))]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    match fast(frame, tables) {
        Verdict::Slow => match slow(frame, tables) {
            Ok(job) => finish::finish(frame, tables, &job),
            Err(verdict) => verdict,
        },
        verdict => verdict,
    }
}

/// What nearly every packet needs.
#[inline(always)]
pub fn fast<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let decided = tables.block().map_or(Err(NOT_OURS), |block| {
        let link = link::<_, false>(frame, block)?;
        match link.ethertype {
            parse::IPV4 => forward::<_, _, Ipv4>(frame, tables, block, &link),
            parse::IPV6 => forward::<_, _, Ipv6>(frame, tables, block, &link),
            _ => Err(NOT_OURS),
        }
    });
    decided.unwrap_or_else(|stopped| stop(tables, stopped))
}

/// Decides on everything: what is to be done, or what has become of the packet.
#[inline(always)]
pub fn slow<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<Job, Verdict> {
    let decided = tables.block().map_or(Err(NOT_OURS), |block| {
        let link = link::<_, true>(frame, block)?;
        match link.ethertype {
            parse::IPV4 => job::<_, _, Ipv4>(frame, tables, block, &link),
            parse::IPV6 => job::<_, _, Ipv6>(frame, tables, block, &link),
            _ => Err(NOT_OURS),
        }
    });
    decided.map_err(|stopped| stop(tables, stopped))
}

const NOT_OURS: Stopped = Stopped { scope: 0, stop: Stop::Pass };

/// One exit for all that is not forwarded: what counts drops, and raises the event of a first one, is there once.
#[inline(always)]
pub(crate) fn stop<T: Tables>(tables: &T, stopped: Stopped) -> Verdict {
    match stopped.stop {
        Stop::Slow => Verdict::Slow,
        Stop::Pass => Verdict::Pass,
        Stop::Drop(reason) => {
            tables.count_drop(stopped.scope, reason);
            Verdict::Drop(reason)
        }
    }
}

#[inline(always)]
fn link<F: Frame, const FULL: bool>(frame: &F, block: &Block) -> Result<Link, Stopped> {
    parse::link::<_, FULL>(frame, block.config.one).map_err(|stop| Stopped { scope: 0, stop })
}

/// Four extension headers of 2 KiB, and what is in front, end before.
const FARTHEST_PAYLOAD: usize = 0x3fff;

/// A packet for a VIP.
struct Found<'b, H> {
    interface: &'b Interface,
    vip: &'b Vip,
    header: H,
    packet: Packet,
}

#[inline(always)]
fn find<'b, F: Frame, T: Tables, H: IpHeader, const FULL: bool>(
    frame: &F,
    tables: &T,
    block: &'b Block,
    link: &Link,
) -> Result<Found<'b, H>, Stopped> {
    // The VIP is looked up before anything is judged: what is not for one is none of ours, however odd (R24).
    let Some(header) = frame.read::<H>(link.end) else { return Err(NOT_OURS) };
    let destination = header.destination();
    let vip = &block.vips[(destination.slot(block.config.vip_multiplier) & (SLOTS - 1)) as usize];
    // An IPv6 destination that has the form of an IPv4 one (`address::V4`) is multicast and no VIP.
    if vip.address != destination || (destination.hi == V4) != H::IS_V4 {
        return Err(NOT_OURS);
    }
    let of_vip = |stop| Stopped { scope: vip.scope, stop };
    let interface = ingress(tables, block, vip, link).map_err(of_vip)?;
    let mut packet = header.packet::<_, FULL>(frame, link.end).map_err(of_vip)?;
    if FULL && !H::IS_V4 {
        // Extension headers, too, the verifier would else remember to the end: see `parse::link`.
        let any = |value: usize| (value as u64 * block.config.one) as usize;
        packet.part.field = any(packet.part.field.into()) as u16;
        packet.payload = any(packet.payload) & FARTHEST_PAYLOAD;
    }
    fragment::check(vip, &packet).map_err(|reason| of_vip(reason.into()))?;
    Ok(Found { interface, vip, header, packet })
}

/// The interface by which the frame came, if it is one for this VIP and the frame is addressed to it. A frame for another host
/// is here because the link floods it: forwarded again it would circle, and passed on it could reach this host by another
/// interface's MAC.
#[inline(always)]
fn ingress<'b, T: Tables>(
    tables: &T,
    block: &'b Block,
    vip: &Vip,
    link: &Link,
) -> Result<&'b Interface, Stop> {
    const ADDRESS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    // The group bit is the lowest of the first byte on the wire (IEEE 802 §8.2).
    const GROUP: u64 = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
    let index = tables.interface();
    let slot = Interface::slot(index, block.config.interface_multiplier) & (INTERFACES - 1);
    let interface = &block.interfaces[slot as usize];
    if interface.index != index || interface.sides & vip.sides == 0 {
        // An empty slot has the address `::`, which is nobody's; seen here, where no packet on its way comes by.
        return Err(if vip.scope == 0 { Stop::Pass } else { Stop::Drop(Reason::Interface) });
    }
    let destination = link.ethernet.destination & ADDRESS;
    if destination == interface.mac {
        return Ok(interface);
    }
    Err(Stop::Drop(if destination & GROUP != 0 { Reason::LinkMulticast } else { Reason::OtherHost }))
}

/// The fast program's way: decide and rewrite at once.
#[inline(always)]
fn forward<F: Frame, T: Tables, H: IpHeader>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Result<Verdict, Stopped> {
    let found = find::<_, _, H, false>(frame, tables, block, link)?;
    let admitted = admit::admit::<_, false>(frame, block, found.vip, &found.packet)?;
    let Admitted { service, segment, .. } = &admitted;
    let steered = steer(tables, block, found.vip, &admitted)?;
    let number = u32::from(steered.instance) & (INSTANCES - 1);
    let instance = &block.instances[number as usize][layout::family(H::IS_V4)];
    let bytes = frame.length() as u64;
    rewrite::rewrite::<_, _, false>(frame, link, &found.header, &found.packet, instance, steered.hash)
        .map_err(|stop| Stopped { scope: service.scope, stop })?;
    tables.count(service.scope, steered.instance, bytes, segment.syns());
    Ok(rewrite::egress(instance, found.interface.port))
}

/// The slow program's: what is to be done.
#[inline(always)]
fn job<F: Frame, T: Tables, H: IpHeader>(
    frame: &F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Result<Job, Stopped> {
    let found = find::<_, _, H, true>(frame, tables, block, link)?;
    let Found { vip, packet, .. } = &found;
    let (hash, scope, instance, syns) = if packet.part.is_later() {
        let (note, hash) = fragment::follow(tables, block, vip, packet)
            .map_err(|reason| Stopped { scope: vip.scope, stop: reason.into() })?;
        (hash, note.scope(), note.instance(), 0)
    } else {
        let admitted = admit::admit::<_, true>(frame, block, vip, packet)?;
        let steered = steer(tables, block, vip, &admitted)?;
        let scope = admitted.service.scope;
        if !packet.part.is_whole() {
            fragment::note(tables, block, vip, packet, scope, steered.instance);
        }
        (steered.hash, scope, steered.instance, admitted.segment.syns())
    };
    Ok(Job {
        hash,
        task: TASK_FORWARD,
        is_v4: H::IS_V4.into(),
        protocol: packet.protocol,
        syns: syns as u8,
        scope,
        instance,
        port: found.interface.port,
        type_at: link.type_at as u16,
        start: packet.start as u16,
        payload: packet.payload as u16,
        end: packet.end as u16,
        part: packet.part.field,
    })
}

/// The instance of an admitted packet: somebody.
#[inline(always)]
fn steer<T: Tables>(
    tables: &T,
    block: &Block,
    vip: &Vip,
    admitted: &Admitted<'_>,
) -> Result<Steered, Stopped> {
    let Admitted { service, flow, segment } = admitted;
    match steer::steer(tables, block, vip.salt, flow, *segment) {
        Some(steered) if steered.instance != 0 => Ok(steered),
        _ => Err(Stopped { scope: service.scope, stop: Stop::Drop(Reason::NoInstance) }),
    }
}
