//! What leaves the host. Inside it leaves as it is (R30), to anywhere else with a public VIP as its source (R31), or not at all:
//! outside nobody sees a DIP.

use network_types::ip::IpProto;

use super::{
    TASK_ADDRESS, TASK_IDENTIFIER, TASK_PORTS, TASK_QUOTE, Translated, Verdict,
    allocate::{self, Flow, Missed, Search},
    layout::{Count, Entry, RETURN_TO_DIP, SERVED, SNAT_VIPS, Table, port_of, tick},
    map::{Flows, Sums, Way},
    pieces, state,
};
use crate::{
    address::Address,
    admit,
    frame::Frame,
    headers::{Ipv4, Ipv6, Ports, TCP_ACK, TCP_RST, TCP_SYN, Tcp, Udp},
    layout,
    nat::{End, Endpoint},
    parse::{self, ETHERNET, IpHeader, Packet, Part, Stop},
    reason::Reason,
    version::Version,
};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;

/// Decides on a packet that leaves: what it is, by what it leaves, and that it does. The middle part is the same for both IP versions.
/// A flow that begins is [`begin`]'s ([`Verdict::New`]).
#[inline(always)]
pub fn leave<F: Sums, M: Flows>(frame: &mut F, flows: &M) -> Verdict {
    let length = frame.length();
    let done = flows.table().map_or(Err(Stop::Pass), |table| {
        let is_v4 = match super::ethertype(frame) {
            Some(parse::IPV4) => true,
            Some(parse::IPV6) => false,
            _ => return Err(Stop::Pass),
        };
        let leaving = if is_v4 { look::<_, Ipv4>(frame, table) } else { look::<_, Ipv6>(frame, table) }?;
        let (leaving, is_v4) = leaving.forget(is_v4, table.one);
        frame.forget();
        let entry = find(flows, table, &leaving)?;
        let vip = address(table, entry.vip()).ok_or(Stop::Drop(Reason::SnatLease))?;
        let to = Endpoint { address: vip, port: entry.port() };
        if is_v4 {
            leaving.packet.rewrite::<_, Ipv4>(frame, (End::Source, to), leaving.flow.port)
        } else {
            leaving.packet.rewrite::<_, Ipv6>(frame, (End::Source, to), leaving.flow.port)
        }
    });
    super::verdict(flows, done, (Count::Out, Count::OutBytes), length)
}

/// Gives a flow that begins its port, if one is found in this attempt; [`leave`] finds it then. In the kernel a program of its own: the verifier walks the search once,
/// and not once for each way to rewrite.
#[inline(always)]
pub fn begin<F: Sums, M: Flows>(frame: &mut F, flows: &M, search: Search) -> Verdict {
    let done = flows.table().map_or(Err(Stop::Pass), |table| {
        let leaving = match super::ethertype(frame) {
            Some(parse::IPV4) => look::<_, Ipv4>(frame, table)?,
            Some(parse::IPV6) => look::<_, Ipv6>(frame, table)?,
            _ => return Err(Stop::Pass),
        };
        let (leaving, _) = leaving.forget(true, table.one);
        frame.forget();
        match enter(flows, table, &leaving, search) {
            Ok(()) => Ok(true),
            Err(Halt::Again) => Ok(false),
            Err(Halt::Stop(stop)) => Err(stop),
        }
    });
    match done {
        Ok(true) => Verdict::Entered,
        Ok(false) => Verdict::New,
        Err(stop) => super::verdict(flows, Err(stop), (Count::Out, Count::OutBytes), 0),
    }
}

/// What a packet is that leaves for outside.
struct Leaving {
    packet: Translated,
    /// As the host sees it. Of a later fragment only the peer holds.
    flow: Flow,
    /// TCP's flags.
    tcp: u8,
    /// Of a datagram in fragments.
    part: Part,
}

impl Leaving {
    /// The same, of which the verifier does not remember how it came to be: it would else walk the search for a port once for every
    /// way that leads there.
    #[inline(always)]
    fn forget(self, is_v4: bool, one: u64) -> (Self, bool) {
        let Self { packet, flow, tcp, part } = self;
        let flow = flow.forget(one);
        let part =
            Part { field: (u64::from(part.field) * one) as u16, id: (u64::from(part.id) * one) as u32 };
        let tcp = (u64::from(tcp) * one) as u8;
        (Self { packet: packet.forget(one), flow, tcp, part }, u64::from(is_v4) * one != 0)
    }
}

#[inline(always)]
fn look<F: Frame, H: Version>(frame: &F, table: &Table) -> Result<Leaving, Stop> {
    let header = frame.read::<H>(ETHERNET).ok_or(Stop::Pass)?;
    let (dip, peer) = (table.dips[layout::family(H::IS_V4)], header.destination());
    if header.source() != dip || dip == Address::default() || is_inside::<H>(table, peer) {
        return Err(Stop::Pass);
    }
    let packet = match header.packet::<_, false>(frame, ETHERNET) {
        Ok(packet) => packet,
        Err(Stop::Slow) => header.packet::<_, true>(frame, ETHERNET)?.forget(table.one),
        Err(stop) => return Err(stop),
    };
    let (protocol, part) = (packet.protocol, packet.part);
    let nobody = Flow { protocol, port: 0, peer, peer_port: 0 };
    if part.is_later() {
        return Ok(Leaving { packet: Translated::new(&packet, TASK_ADDRESS), flow: nobody, tcp: 0, part });
    }
    if protocol != TCP && protocol != UDP {
        return of_icmp::<_, H>(frame, &header, &packet, nobody);
    }
    let size = if protocol == TCP { size_of::<Tcp>() } else { size_of::<Udp>() };
    let truncated = Stop::Drop(Reason::Truncated);
    if packet.payload + size > packet.end {
        return Err(truncated);
    }
    let ports = frame.read::<Ports>(packet.payload).ok_or(truncated)?;
    let tcp = super::tcp_flags(frame, &packet).ok_or(truncated)?;
    let (port, peer_port) = (u16::from_be(ports.source), u16::from_be(ports.destination));
    Ok(Leaving {
        packet: Translated::new(&packet, TASK_PORTS),
        flow: Flow { port, peer_port, ..nobody },
        tcp,
        part,
    })
}

/// Whoever is spoken to by the DIP, and groups.
#[inline(always)]
pub(super) fn is_inside<H: IpHeader>(table: &Table, peer: Address) -> bool {
    // A group of IPv6 could pass for an IPv4 address (`address::V4`).
    !H::IS_V4 && peer.hi >> 56 == 0xff || admit::contains(&table.inside, peer)
}

/// A query, or an error about a packet that came. All else that is no flow would show the DIP.
#[inline(always)]
fn of_icmp<F: Frame, H: Version>(
    frame: &F,
    header: &H,
    packet: &Packet,
    nobody: Flow,
) -> Result<Leaving, Stop> {
    let of_none = Stop::Drop(Reason::SnatProtocol);
    if packet.protocol != H::ICMP as u8 {
        return Err(of_none);
    }
    let message = super::message(frame, packet).ok_or(Stop::Drop(Reason::Truncated))?;
    if super::is_neighbour_discovery::<H>(message.kind, packet.hop_limit) {
        return Err(Stop::Pass);
    }
    if !packet.part.is_whole() {
        return Err(of_none);
    }
    let part = packet.part;
    if message.kind == H::ECHO.1 {
        let flow = Flow { port: u16::from_be(message.rest as u16), ..nobody };
        return Ok(Leaving { packet: Translated::new(packet, TASK_IDENTIFIER), flow, tcp: 0, part });
    }
    if !super::is_error::<H>(message.kind) {
        return Err(of_none);
    }
    // The quoted packet came: its source is the peer.
    let quote = super::quoted::<_, H>(frame, packet)?;
    if quote.destination != header.source() {
        return Err(Stop::Drop(Reason::SnatEntry));
    }
    let flow = Flow {
        protocol: quote.protocol,
        port: quote.destination_port,
        peer: quote.source,
        peer_port: quote.source_port,
    };
    Ok(Leaving { packet: Translated::new(packet, TASK_QUOTE), flow, tcp: 0, part })
}

/// By what a packet leaves.
#[inline(always)]
fn find<M: Flows>(flows: &M, table: &Table, leaving: &Leaving) -> Result<Entry, Stop> {
    let Leaving { packet, flow, tcp, part } = leaving;
    match packet.task {
        TASK_ADDRESS => pieces::follow(flows, table, *part, *flow).ok_or(Stop::Drop(Reason::SnatFragment)),
        TASK_QUOTE => {
            let entry = flows.get(Way::Forward, flow.key()).map(|word| Entry(word.load()));
            entry.filter(|entry| !entry.is_dead()).ok_or(Stop::Drop(Reason::SnatEntry))
        }
        _ => {
            let now = tick(flows.now());
            let entry = known(flows, table, *flow, *tcp, now).ok_or(Stop::Slow)?;
            if !part.is_whole() {
                pieces::note(flows, table, *part, *flow, entry);
            }
            Ok(entry)
        }
    }
}

/// Why a flow does not begin here.
enum Halt {
    Again,
    Stop(Stop),
}

/// A connection begins with a SYN and nothing else; in the middle of one, its port is not to be known.
#[inline(always)]
fn enter<M: Flows>(flows: &M, table: &Table, leaving: &Leaving, search: Search) -> Result<(), Halt> {
    let Leaving { flow, tcp, .. } = leaving;
    if table.flags & RETURN_TO_DIP != 0 && contains(&table.backends, flow.protocol, flow.port) {
        return Err(Halt::Stop(Stop::Pass));
    }
    if flow.protocol == TCP && tcp & (TCP_SYN | TCP_ACK | TCP_RST) != TCP_SYN {
        return Err(Halt::Stop(Stop::Drop(Reason::SnatEntry)));
    }
    match allocate::begin(flows, table, *flow, search, tick(flows.now())) {
        Ok(_) => {
            flows.count(kind(flow.protocol), 1);
            Ok(())
        }
        Err(Missed::Again) => Err(Halt::Again),
        Err(Missed::Never(reason)) => Err(Halt::Stop(Stop::Drop(reason))),
    }
}

#[inline(always)]
const fn kind(protocol: u8) -> Count {
    match protocol {
        TCP => Count::Tcp,
        UDP => Count::Udp,
        _ => Count::Icmp,
    }
}

/// The entry of a flow that is there, which is used now.
#[inline(always)]
fn known<M: Flows>(flows: &M, table: &Table, flow: Flow, tcp: u8, now: u32) -> Option<Entry> {
    let word = flows.get(Way::Forward, flow.key())?;
    for _ in 0..2 {
        let seen = Entry(word.load());
        if seen.is_dead() {
            return None;
        }
        let flags = if flow.protocol == TCP { state::leaving(seen.flags(), tcp) } else { 0 };
        if seen.last() == now && seen.flags() == flags {
            return Some(seen);
        }
        // A port that is not shared lives as long as its youngest flow, and with it the others' answers.
        if flow.is_for_all() {
            if state::is_over(seen, flow.protocol, &table.lives, now) {
                return None;
            }
            allocate::keep(flows, flow.with_all(), now).filter(|mapping| mapping.is_like(seen))?;
        }
        if word.replace(seen.0, seen.with(now, flags).0) {
            return Some(seen);
        }
    }
    // Others use it in this moment.
    let seen = Entry(word.load());
    if seen.is_dead() { None } else { Some(seen) }
}

/// A VIP by its place.
#[inline(always)]
fn address(table: &Table, place: u8) -> Option<Address> {
    let address = table.vips[usize::from(place) & (SNAT_VIPS - 1)].address;
    if address == Address::default() { None } else { Some(address) }
}

/// Whether a port is listed.
#[inline(always)]
pub(super) fn contains(ports: &[u32; SERVED], protocol: u8, port: u16) -> bool {
    let wanted = port_of(protocol, port);
    for &known in ports {
        if known == 0 {
            break;
        }
        if known == wanted {
            return true;
        }
    }
    false
}
