//! Replies in nat mode: an instance answers by this host, and the client gets the answer from the VIP. Nothing is remembered
//! for it: the port that the reply comes from tells which VIP and port it stands for.
//!
//! A program of its own, which the others hand a peer's packet to: they do not get larger by it. What is no reply passes untouched.

use network_types::ip::IpProto;

use crate::{
    admit::Stopped,
    frame::Frame,
    headers::{Icmp, Ipv4, Ipv6, Ports, Tcp, Udp},
    icmp,
    layout::{self, Block, Reply, SIDE_INSIDE, SLOTS},
    nat::{self, End, Endpoint},
    parse::{self, ETHERNET, FARTHEST, IpHeader, Link, Packet, Stop},
    pipeline::{self, Verdict},
    reason::Reason,
    tables::{Route, Tables},
};

/// Gives a reply its VIP back and sends it to the client.
#[inline(always)]
pub fn reply<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let done = tables.block().map_or(Err(Stop::Pass), |block| {
        let link = parse::link::<_, true>(frame, block.config.one)?;
        match link.ethertype {
            parse::IPV4 => on::<_, _, Ipv4>(frame, tables, block, &link),
            parse::IPV6 => on::<_, _, Ipv6>(frame, tables, block, &link),
            _ => Err(Stop::Pass),
        }
    });
    done.unwrap_or_else(|stop| pipeline::stop(tables, Stopped { scope: 0, stop }))
}

#[inline(always)]
fn on<F: Frame, T: Tables, H: IpHeader>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Result<Verdict, Stop> {
    let header = frame.read::<H>(link.end).ok_or(Stop::Pass)?;
    let interface = pipeline::interface(block, tables.interface()).ok_or(Stop::Pass)?;
    if interface.sides & SIDE_INSIDE == 0 || !pipeline::is_for(link, interface) {
        return Err(Stop::Pass);
    }
    let Ok(packet) = header.packet::<_, true>(frame, link.end) else { return Err(Stop::Pass) };
    // Only its first fragment would tell what it is, and a datagram of which some fragments come from another address is lost
    // anyhow; passed on, they would show the client the instance.
    if !packet.part.is_whole() {
        return Err(Stop::Drop(Reason::NatFragment));
    }
    if packet.payload > usize::from(FARTHEST) {
        return Err(Stop::Pass);
    }
    // As in `parse::link`: the verifier would else walk the rest once for each way that leads here.
    let any = |offset: usize, most: u16| (offset as u64 * block.config.one) as usize & usize::from(most);
    let packet = Packet { payload: any(packet.payload, FARTHEST), end: any(packet.end, u16::MAX), ..packet };
    let reply = find::<_, H>(frame, block, &header, &packet).ok_or(Stop::Pass)?;
    // Nowhere to go from here: the kernel tells the sender, as it does for all that it routes.
    if packet.hop_limit <= 1 {
        return Err(Stop::Pass);
    }
    // Tags are the kernel's: the route leads to a device of its own, and not to this one.
    let is_tagged = link.end != ETHERNET;
    let route = match tables.route(reply.vip, header.destination(), packet.protocol, packet.length() as u16) {
        // As it is, so that the kernel tells the instance how large it may be.
        Route::TooBig if !header.may_be_cut() => return Err(Stop::Pass),
        // This host's own connection to the instance, and no client's; or nobody's, which the kernel tells the instance.
        Route::Here => return Err(Stop::Pass),
        Route::Link { interface, macs } if !is_tagged => {
            pipeline::interface(block, interface).map(|out| (out, macs))
        }
        _ => None,
    };
    // The kernel takes a hop away itself from what it routes.
    let hops = u8::from(route.is_some());
    let vip = Endpoint { address: reply.vip, port: reply.port };
    nat::translate::<_, _, true>(frame, &header, &packet, (End::Source, vip), hops)?;
    let Some((out, macs)) = route else { return Ok(Verdict::Deliver) };
    frame.write(0, macs).ok_or(Stop::Drop(Reason::Truncated))?;
    Ok(if out.port == interface.port { Verdict::Transmit } else { Verdict::Redirect(out.port) })
}

/// What a packet of a peer is the reply of; for an ICMP error, what the packet that it quotes was sent to.
#[inline(always)]
fn find<'b, F: Frame, H: IpHeader>(
    frame: &F,
    block: &'b Block,
    header: &H,
    packet: &Packet,
) -> Option<&'b Reply> {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    let (protocol, port) = match packet.protocol {
        TCP if packet.payload + size_of::<Tcp>() <= packet.end => (TCP, ports(frame, packet.payload)?.source),
        UDP if packet.payload + size_of::<Udp>() <= packet.end => (UDP, ports(frame, packet.payload)?.source),
        ICMP if H::IS_V4 => quote::<_, H>(frame, header, packet)?,
        ICMPV6 if !H::IS_V4 => quote::<_, H>(frame, header, packet)?,
        _ => return None,
    };
    let key = Reply::key(H::IS_V4, protocol, u16::from_be(port));
    let reply = &block.replies[(layout::slot(key, block.config.reply_multiplier) & (SLOTS - 1)) as usize];
    if reply.key == key { Some(reply) } else { None }
}

/// Protocol and destination port, as on the wire, of the packet to this peer that its ICMP error quotes.
#[inline(always)]
fn quote<F: Frame, H: IpHeader>(frame: &F, header: &H, packet: &Packet) -> Option<(u8, u16)> {
    let kind = frame.read::<Icmp>(packet.payload)?.kind;
    if !(if H::IS_V4 { icmp::is_error_v4(kind) } else { icmp::is_error_v6(kind) }) {
        return None;
    }
    let start = packet.payload + size_of::<Icmp>();
    let quoted = frame.read::<H>(start)?;
    let (protocol, payload) = quoted.quoted(frame, start)?;
    if quoted.destination() != header.source() || payload + size_of::<Ports>() > packet.end {
        return None;
    }
    Some((protocol, ports(frame, payload)?.destination))
}

#[inline(always)]
fn ports<F: Frame>(frame: &F, offset: usize) -> Option<Ports> {
    frame.read(offset)
}
