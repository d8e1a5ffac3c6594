//! The whole way of a packet.

use crate::{
    address::V4,
    admit::{self, Admitted, Dropped},
    frame::Frame,
    headers::{Ipv4, Ipv6, Macs},
    layout::{Block, Config, INSTANCES, SLOTS, Vip, WAY_LINK, WAY_LOCAL},
    parse::{self, IpHeader, Link},
    reason::Reason,
    steer,
    tables::Tables,
};

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not for a VIP, or for the kernel to answer: untouched, up the stack.
    Pass,
    /// Counted under its reason.
    Drop(Reason),
    /// Rewritten for its instance: out of the interface it came in by.
    Transmit,
    /// Its instance is this host: untouched, up the stack.
    Deliver,
}

/// Decides on one packet, and rewrites it where it is forwarded.
#[inline(always)]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    match decide(frame, tables) {
        Ok(verdict) => verdict,
        // One exit for all drops: what counts them, and raises the event of a first one, is there once.
        Err(Dropped { scope, reason }) => {
            tables.count_drop(scope, reason);
            Verdict::Drop(reason)
        }
    }
}

#[inline(always)]
fn decide<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Result<Verdict, Dropped> {
    let Some(block) = tables.block() else { return Ok(Verdict::Pass) };
    let Some(link) = parse::link(frame).map_err(|reason| Dropped { scope: 0, reason })? else {
        return Ok(Verdict::Pass);
    };
    match link.ethertype {
        parse::IPV4 => decide_on::<_, _, Ipv4>(frame, tables, block, &link),
        parse::IPV6 => decide_on::<_, _, Ipv6>(frame, tables, block, &link),
        _ => Ok(Verdict::Pass),
    }
}

#[inline(always)]
fn decide_on<F: Frame, T: Tables, H: IpHeader>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Result<Verdict, Dropped> {
    // The VIP is looked up before anything is judged: what is not for one is none of ours, however odd (R24).
    let Some(header) = frame.read::<H>(link.end) else { return Ok(Verdict::Pass) };
    let destination = header.destination();
    let vip = &block.vips[(destination.slot(block.config.vip_multiplier) & (SLOTS - 1)) as usize];
    // An IPv6 destination that has the form of an IPv4 one (`address::V4`) is multicast and no VIP.
    if vip.address != destination || (destination.hi == V4) != H::IS_V4 {
        return Ok(Verdict::Pass);
    }
    let of_vip = |reason| Dropped { scope: vip.scope, reason };
    check_link(&block.config, link).map_err(of_vip)?;
    let packet = header.packet(frame, link.end).map_err(of_vip)?;
    match admit::admit(frame, block, vip, &packet)? {
        Some(admitted) => forward(frame, tables, block, vip, &admitted),
        None => Ok(Verdict::Pass),
    }
}

/// The frame has to be addressed to this interface. A frame for another host is here because the link floods it: forwarded
/// again it would circle, and passed on it could reach this host by another interface's MAC.
#[inline(always)]
fn check_link(config: &Config, link: &Link) -> Result<(), Reason> {
    const ADDRESS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    // The group bit is the lowest of the first byte on the wire (IEEE 802 §8.2).
    const GROUP: u64 = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
    let destination = link.ethernet.destination & ADDRESS;
    if destination == config.mac {
        return Ok(());
    }
    Err(if destination & GROUP != 0 { Reason::LinkMulticast } else { Reason::OtherHost })
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    vip: &Vip,
    admitted: &Admitted<'_>,
) -> Result<Verdict, Dropped> {
    let service = admitted.service;
    let of_service = |reason| Dropped { scope: service.scope, reason };
    let owner = steer::steer(tables, block, service.ring, vip.salt, &admitted.flow, admitted.segment);
    let number = owner.filter(|&number| number != 0).ok_or(of_service(Reason::NoInstance))?;
    let instance = &block.instances[(u32::from(number) & (INSTANCES - 1)) as usize];
    let verdict = match instance.way {
        WAY_LINK => {
            let [a, b, c] = instance.macs;
            frame.write(0, Macs { a, b, c }).ok_or(of_service(Reason::Truncated))?;
            Verdict::Transmit
        }
        WAY_LOCAL => Verdict::Deliver,
        _ => return Err(of_service(Reason::Neighbour)),
    };
    tables.count(service.scope, number, frame.length() as u64, admitted.segment.syns());
    Ok(verdict)
}
