//! What a packet needs to get to its instance.

use crate::{
    address::mix,
    encapsulate::{self, Tunnel},
    frame::Frame,
    headers::Macs,
    layout::{Instance, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6, WAY_LINK, WAY_LOCAL},
    parse::{IpHeader, Link, Packet, Stop},
    pipeline::Verdict,
    reason::Reason,
};

/// Rewrites the frame for the way to its instance. In the fast program (`!FULL`) offsets do not vary.
#[inline(always)]
pub fn rewrite<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    link: &Link,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    hash: u64,
) -> Result<(), Stop> {
    // IANA's dynamic ports (RFC 6335), 14 bits of them.
    let gue = || Tunnel::Gue { source_port: 0xc000 | mix(hash) as u16 };
    match instance.way {
        WAY_LINK => {
            let [a, b, c] = instance.macs;
            frame.write(0, Macs { a, b, c }).ok_or(Stop::Drop(Reason::Truncated))
        }
        WAY_LOCAL => Ok(()),
        WAY_IPIP4..=WAY_GUE6 if packet.length() > usize::from(instance.mtu) => {
            Err(Stop::Drop(Reason::TooBig))
        }
        WAY_IPIP4 => encapsulate::over_v4::<_, _, FULL>(frame, link, header, packet, instance, Tunnel::Ipip),
        WAY_IPIP6 => encapsulate::over_v6::<_, _, FULL>(frame, link, header, packet, instance, Tunnel::Ipip),
        WAY_GUE4 => encapsulate::over_v4::<_, _, FULL>(frame, link, header, packet, instance, gue()),
        WAY_GUE6 => encapsulate::over_v6::<_, _, FULL>(frame, link, header, packet, instance, gue()),
        _ => Err(Stop::Drop(Reason::Neighbour)),
    }
}

/// By which interface a rewritten frame leaves, given the one that it came by.
#[inline(always)]
pub fn egress(instance: &Instance, port: u16) -> Verdict {
    match instance.way {
        WAY_LOCAL => Verdict::Deliver,
        _ if instance.port == port => Verdict::Transmit,
        _ => Verdict::Redirect(instance.port),
    }
}
