//! The whole way of a packet.

use crate::{
    address::Address,
    admit::{self, Dropped},
    frame::Frame,
    headers::{Ipv4, Ipv6, Macs},
    layout::{Config, Vip, WAY_LINK, WAY_LOCAL},
    parse::{self, Link},
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
    let Some(config) = tables.config() else { return Verdict::Pass };
    let link = match parse::link(frame) {
        Ok(Some(link)) => link,
        Ok(None) => return Verdict::Pass,
        Err(reason) => return refuse(tables, 0, reason, Address::default()),
    };
    // The VIP is looked up before anything is judged: what is not for one is none of ours, however odd (R24).
    let (vip, source, packet) = match link.ethertype {
        parse::IPV4 => {
            let Some(header) = frame.read::<Ipv4>(link.end) else { return Verdict::Pass };
            let Some(vip) = find(tables, config, header.destination()) else { return Verdict::Pass };
            (vip, header.source(), parse::ipv4(frame, link.end, &header))
        }
        parse::IPV6 => {
            let Some(header) = frame.read::<Ipv6>(link.end) else { return Verdict::Pass };
            let Some(vip) = find(tables, config, header.destination()) else { return Verdict::Pass };
            (vip, header.source(), parse::ipv6(frame, link.end, &header))
        }
        _ => return Verdict::Pass,
    };
    match for_us(config, &link) {
        Ok(true) => {}
        // A frame for another host, seen because the link floods it; forwarding it again would make it circle.
        Ok(false) => return Verdict::Pass,
        Err(reason) => return refuse(tables, vip.scope, reason, source),
    }
    let packet = match packet {
        Ok(packet) => packet,
        Err(reason) => return refuse(tables, vip.scope, reason, source),
    };
    match admit::admit(frame, tables, config, vip, &packet) {
        Ok(Some(admitted)) => forward(frame, tables, config, vip, &admitted),
        Ok(None) => Verdict::Pass,
        Err(Dropped { scope, reason }) => refuse(tables, scope, reason, source),
    }
}

#[inline(always)]
fn find<'t, T: Tables>(tables: &'t T, config: &Config, destination: Address) -> Option<&'t Vip> {
    tables.vip(destination.slot(config.vip_multiplier)).filter(|vip| vip.address == destination)
}

/// Whether the frame is addressed to this interface.
#[inline(always)]
fn for_us(config: &Config, link: &Link) -> Result<bool, Reason> {
    let (a, b) = (link.ethernet.destination_a, link.ethernet.destination_b);
    if a == config.mac_a && b == config.mac_b {
        return Ok(true);
    }
    // The group bit is the lowest of the first byte on the wire (IEEE 802 §8.2).
    if u32::from_be(a) >> 24 & 1 == 1 { Err(Reason::LinkMulticast) } else { Ok(false) }
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    vip: &Vip,
    admitted: &admit::Admitted<'_>,
) -> Verdict {
    let service = admitted.service;
    let source = admitted.flow.source;
    let owner =
        steer::steer(tables, config, u32::from(service.ring), vip.salt, &admitted.flow, admitted.segment);
    let number = match owner {
        Some(number) if number != 0 => number,
        _ => return refuse(tables, service.scope, Reason::NoInstance, source),
    };
    let Some(instance) = tables.instance(u32::from(number)) else {
        return refuse(tables, service.scope, Reason::NoInstance, source);
    };
    let verdict = match instance.way {
        WAY_LINK => {
            let [a, b, c] = instance.macs;
            if frame.write(0, Macs { a, b, c }).is_none() {
                return refuse(tables, service.scope, Reason::Truncated, source);
            }
            Verdict::Transmit
        }
        WAY_LOCAL => Verdict::Deliver,
        _ => return refuse(tables, service.scope, Reason::Neighbour, source),
    };
    tables.count(service.scope, number, frame.length() as u64, admitted.segment.syns());
    verdict
}

#[inline(always)]
fn refuse<T: Tables>(tables: &T, scope: u16, reason: Reason, source: Address) -> Verdict {
    tables.count_drop(scope, reason, source);
    Verdict::Drop(reason)
}
