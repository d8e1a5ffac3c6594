//! What a packet needs to get to its instance.

use crate::{
    address::mix,
    encapsulate::{self, Tunnel},
    frame::Frame,
    headers::Macs,
    layout::{Instance, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6, WAY_LINK, WAY_LOCAL, WAY_NAT},
    nat::{self, End, Endpoint},
    parse::{IpHeader, Link, Packet, Stop},
    pipeline::Verdict,
    reason::Reason,
};

/// Rewrites the frame for the way to its instance, where a service has its `backend_port` in nat mode. In the fast program (`!FULL`) offsets do not vary.
#[inline(always)]
pub fn rewrite<F: Frame, H: IpHeader, const FULL: bool>(
    frame: &mut F,
    link: &Link,
    header: &H,
    packet: &Packet,
    instance: &Instance,
    (hash, backend_port): (u64, u16),
) -> Result<(), Stop> {
    // IANA's dynamic ports (RFC 6335), 14 bits of them.
    let gue = || Tunnel::Gue { source_port: 0xc000 | mix(hash) as u16 };
    match instance.way {
        WAY_LINK => {
            let [a, b, c] = instance.macs;
            frame.write(0, Macs { a, b, c }).ok_or(Stop::Drop(Reason::Truncated))
        }
        WAY_LOCAL => Ok(()),
        WAY_IPIP4..=WAY_NAT if packet.length() > usize::from(instance.mtu) => Err(Stop::Drop(Reason::TooBig)),
        WAY_IPIP4 => encapsulate::over_v4::<_, _, FULL>(frame, link, header, packet, instance, Tunnel::Ipip),
        WAY_IPIP6 => encapsulate::over_v6::<_, _, FULL>(frame, link, header, packet, instance, Tunnel::Ipip),
        WAY_GUE4 => encapsulate::over_v4::<_, _, FULL>(frame, link, header, packet, instance, gue()),
        WAY_GUE6 => encapsulate::over_v6::<_, _, FULL>(frame, link, header, packet, instance, gue()),
        WAY_NAT => {
            let to = Endpoint { address: instance.address, port: backend_port };
            nat::translate::<_, _, FULL>(frame, header, packet, (End::Destination, to), 1)?;
            let [a, b, c] = instance.macs;
            frame.write(0, Macs { a, b, c }).ok_or(Stop::Drop(Reason::Truncated))
        }
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
