//! What comes to a public VIP that flows leave by: answers get the DIP and the port that the host knows, what is nobody's answer is
//! dropped (R21), and what is for a service on the VIP is not looked at.

use network_types::ip::IpProto;

use super::{
    TASK_IDENTIFIER, TASK_PORTS, TASK_QUOTE, Translated, Verdict,
    allocate::Flow,
    layout::{
        BLOCK_NONE, BLOCK_PORTS, Count, Entry, Key, PORT_BLOCKS, RETURN_TO_DIP, SNAT_VIPS, Table, tick,
        vip_slot,
    },
    leave::{contains, is_inside},
    map::{Flows, Sums, Way},
    state,
};
use crate::{
    address::Address,
    frame::Frame,
    headers::{Ipv4, Ipv6, Ports, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Tcp, Udp},
    layout,
    nat::{End, Endpoint},
    parse::{self, ETHERNET, IpHeader, Packet, Stop},
    reason::Reason,
    version::Version,
};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;

/// Decides on a packet that comes.
#[inline(always)]
pub fn arrive<F: Sums, M: Flows>(frame: &mut F, flows: &M) -> Verdict {
    let length = frame.length();
    let done = flows.table().map_or(Err(Stop::Pass), |table| {
        let is_v4 = match super::ethertype(frame) {
            Some(parse::IPV4) => true,
            Some(parse::IPV6) => false,
            _ => return Err(Stop::Pass),
        };
        let (door, arriving) =
            if is_v4 { look::<_, Ipv4>(frame, table) } else { look::<_, Ipv6>(frame, table) }?;
        let own = find(flows, door, &arriving).map_err(|reason| door.refuse(reason))?;
        let to = Endpoint { address: door.dip, port: own };
        if is_v4 {
            arriving.packet.rewrite::<_, Ipv4>(frame, (End::Destination, to), arriving.port)
        } else {
            arriving.packet.rewrite::<_, Ipv6>(frame, (End::Destination, to), arriving.port)
        }
    });
    super::verdict(flows, done, (Count::In, Count::InBytes), length)
}

/// Where a packet came to.
#[derive(Clone, Copy)]
struct Door<'t> {
    table: &'t Table,
    /// As [`Key::vip`]; 0: to the DIP.
    vip: u8,
    /// What the host knows for it.
    dip: Address,
}

/// What came to it.
struct Arriving {
    packet: Translated,
    /// Of the flow, and so are the rest.
    protocol: u8,
    /// The VIP's.
    port: u16,
    peer: Address,
    peer_port: u16,
    /// TCP's flags.
    tcp: u8,
}

#[inline(always)]
fn look<'t, F: Frame, H: Version>(frame: &F, table: &'t Table) -> Result<(Door<'t>, Arriving), Stop> {
    let header = frame.read::<H>(ETHERNET).ok_or(Stop::Pass)?;
    let door = door(table, &header).ok_or(Stop::Pass)?;
    let packet = match header.packet::<_, false>(frame, ETHERNET) {
        Ok(packet) => packet,
        Err(Stop::Slow) => match header.packet::<_, true>(frame, ETHERNET) {
            Ok(packet) => packet.forget(table.one),
            Err(Stop::Drop(reason)) => return Err(door.refuse(reason)),
            Err(stop) => return Err(stop),
        },
        Err(Stop::Drop(reason)) => return Err(door.refuse(reason)),
        Err(stop) => return Err(stop),
    };
    if !packet.part.is_whole() {
        // The balancer drops them; here they come from elsewhere.
        return Err(door.refuse(Reason::Fragment));
    }
    let arriving = if packet.protocol == TCP || packet.protocol == UDP {
        by_port::<_, H>(frame, &header, &packet)
    } else {
        of_icmp::<_, H>(frame, &header, &packet)
    };
    let arriving = match arriving {
        Ok(arriving) => arriving,
        Err(Stop::Drop(reason)) => return Err(door.refuse(reason)),
        Err(stop) => return Err(stop),
    };
    if door.is_leased(arriving.port) {
        return Ok((door, arriving));
    }
    if contains(&table.served, arriving.protocol, arriving.port) {
        return Err(Stop::Pass);
    }
    Err(door.refuse(Reason::SnatUnsolicited))
}

/// `None`: a stranger's.
#[inline(always)]
fn door<'t, H: IpHeader>(table: &'t Table, header: &H) -> Option<Door<'t>> {
    let to = header.destination();
    // No VIP is a group, and one of IPv6 could pass for IPv4.
    if !H::IS_V4 && to.hi >> 56 == 0xff {
        return None;
    }
    let dip = table.dips[layout::family(H::IS_V4)];
    let number = table.by_address[vip_slot(to, table.vip_multiplier)];
    if number != 0 && table.vips[(number as usize - 1) & (SNAT_VIPS - 1)].address == to {
        return if dip == Address::default() { None } else { Some(Door { table, vip: number as u8, dip }) };
    }
    let is_returned = table.flags & RETURN_TO_DIP != 0 && to == dip && dip != Address::default();
    if is_returned && !is_inside::<H>(table, header.source()) {
        Some(Door { table, vip: 0, dip })
    } else {
        None
    }
}

impl Door<'_> {
    /// What comes to the DIP, and is no answer, is the host's own.
    #[inline(always)]
    const fn refuse(&self, reason: Reason) -> Stop {
        if self.vip == 0 { Stop::Pass } else { Stop::Drop(reason) }
    }

    /// Whether a flow can leave by this port; where only the DIP is known, any port may be one.
    #[inline(always)]
    fn is_leased(&self, port: u16) -> bool {
        let place = usize::from(self.vip).wrapping_sub(1) & (SNAT_VIPS - 1);
        // To the verifier of Linux 6.1 a number whose bytes were swapped has no bounds, to the compiler it has, and it leaves the mask
        // out: so it is multiplied by what neither knows.
        let port = u64::from(port) * self.table.one;
        let block = (port as usize / BLOCK_PORTS as usize) & (PORT_BLOCKS - 1);
        self.vip == 0 || self.table.vips[place].states[block] != BLOCK_NONE
    }
}

/// TCP and UDP.
#[inline(always)]
fn by_port<F: Frame, H: IpHeader>(frame: &F, header: &H, packet: &Packet) -> Result<Arriving, Stop> {
    let truncated = Stop::Drop(Reason::Truncated);
    let protocol = packet.protocol;
    let size = if protocol == TCP { size_of::<Tcp>() } else { size_of::<Udp>() };
    if packet.payload + size > packet.end {
        return Err(truncated);
    }
    let ports = frame.read::<Ports>(packet.payload).ok_or(truncated)?;
    let tcp = super::tcp_flags(frame, packet).ok_or(truncated)?;
    let (port, peer_port) = (u16::from_be(ports.destination), u16::from_be(ports.source));
    let packet = Translated::new(packet, TASK_PORTS);
    Ok(Arriving { packet, protocol, port, peer: header.source(), peer_port, tcp })
}

/// The answer to a query, or an error about a packet that left.
#[inline(always)]
fn of_icmp<F: Frame, H: Version>(frame: &F, header: &H, packet: &Packet) -> Result<Arriving, Stop> {
    let of_none = Stop::Drop(Reason::SnatUnsolicited);
    if packet.protocol != H::ICMP as u8 {
        return Err(of_none);
    }
    let message = super::message(frame, packet).ok_or(Stop::Drop(Reason::Truncated))?;
    if super::is_neighbour_discovery::<H>(message.kind, packet.hop_limit) {
        return Err(Stop::Pass);
    }
    if message.kind == H::ECHO.0 {
        let (protocol, port) = (packet.protocol, u16::from_be(message.rest as u16));
        let packet = Translated::new(packet, TASK_IDENTIFIER);
        return Ok(Arriving { packet, protocol, port, peer: header.source(), peer_port: 0, tcp: 0 });
    }
    if !super::is_error::<H>(message.kind) {
        return Err(of_none);
    }
    // The quoted packet left: its source is the VIP.
    let quote = super::quoted::<_, H>(frame, packet)?;
    if quote.source != header.destination() {
        return Err(Stop::Drop(Reason::IcmpQuote));
    }
    Ok(Arriving {
        packet: Translated::new(packet, TASK_QUOTE),
        protocol: quote.protocol,
        port: quote.source_port,
        peer: quote.destination,
        peer_port: quote.destination_port,
        tcp: 0,
    })
}

/// The host's port of a flow that this answers, or quotes. Once in a while, and where TCP says something, its forward entry is told, or
/// asked whether the flow is still there: the peer of a datagram does not keep it alive (RFC 4787 REQ-6), and no error does.
#[inline(always)]
fn find<M: Flows>(flows: &M, door: Door<'_>, arriving: &Arriving) -> Result<u16, Reason> {
    let Arriving { ref packet, protocol, port, peer, peer_port, tcp } = *arriving;
    if tcp & (TCP_SYN | TCP_ACK) == TCP_SYN {
        return Err(Reason::SnatSyn);
    }
    let is_quote = packet.task == TASK_QUOTE;
    let unknown = if is_quote { Reason::IcmpQuote } else { Reason::SnatUnsolicited };
    let now = tick(flows.now());
    let back = Key::reverse(door.vip, protocol, port, peer, peer_port);
    let Some(word) = flows.get(Way::Reverse, back) else { return Err(unknown) };
    let seen = Entry(word.load());
    let is_telling = tcp & (TCP_SYN | TCP_FIN | TCP_RST) != 0;
    if seen.last() == now && !is_telling {
        return Ok(seen.port());
    }
    let flow = Flow { protocol, port: seen.port(), peer, peer_port };
    let Some(its) = flows.get(Way::Forward, flow.key()) else { return Err(unknown) };
    for _ in 0..2 {
        let entry = Entry(its.load());
        if !is_of(door, entry, port) || state::is_over(entry, protocol, &door.table.lives, now) {
            return Err(unknown);
        }
        let after = entry.with(now, state::arriving(entry.flags(), tcp));
        if is_quote || protocol != TCP || entry == after || its.replace(entry.0, after.0) {
            break;
        }
    }
    if !is_quote {
        word.replace(seen.0, seen.with(now, 0).0);
    }
    Ok(seen.port())
}

#[inline(always)]
const fn is_of(door: Door<'_>, entry: Entry, port: u16) -> bool {
    entry.port() == port && !entry.is_dead() && (door.vip == 0 || entry.vip() + 1 == door.vip)
}
