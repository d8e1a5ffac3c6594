//! Source NAT of instances: what one sends to outside leaves with a public VIP (R31), by a port that is leased to it (R34).
//!
//! ```text
//! host ─► DIP:port > peer ─► leave  ─► VIP:port' > peer ─► link
//!                                                          … peer > VIP:port' ─► balancer, by block of ports ─┐
//! host ◄─ peer > DIP:port ◄─ arrive ◄─ peer > VIP:port' ◄─────────────────────────────────────────────────────┘
//! ```
//!
//! Two entries make a flow: the forward one, found by what the host sends, has VIP and port, when it was used last and how far it is;
//! the reverse one, found by what comes, has the host's port. Each is one word. The code is generic over [`map::Flows`] and a frame,
//! as the balancer's pipeline: kernel and tests run the same.

pub mod allocate;
pub mod arrive;
#[cfg(not(target_arch = "bpf"))]
pub mod host;
pub mod layout;
pub mod leave;
pub mod map;
pub mod pieces;
pub mod state;

use core::mem::offset_of;

use network_types::ip::IpProto;

use self::{
    layout::Count,
    map::{Flows, Sums},
};
use crate::{
    address::Address,
    checksum,
    frame::Frame,
    headers::{Ethernet, Icmp, Ports, Tcp, Udp},
    icmp::{is_error_v4, is_error_v6},
    nat::{self, End, Endpoint},
    parse::{ETHERNET, FARTHEST_PAYLOAD, IpHeader, Packet, Stop},
    reason::Reason,
    version::Version,
};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;

/// What leaves: all that the programs do with it.
#[cfg(not(target_arch = "bpf"))]
pub fn send<F: Sums, M: Flows>(frame: &mut F, flows: &M) -> Verdict {
    let mut verdict = leave::leave(frame, flows);
    let mut search = allocate::Search { start: flows.random(), attempt: 0 };
    while verdict == Verdict::New && search.attempt < allocate::ATTEMPTS {
        verdict = leave::begin(frame, flows, search);
        search.attempt += 1;
    }
    if verdict == Verdict::Entered { leave::leave(frame, flows) } else { verdict }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// None of ours.
    Untouched,
    /// It has another source, or destination.
    Translated,
    /// Of a flow that begins, and has no port yet.
    New,
    /// Of a flow that has begun, not translated yet.
    Entered,
    /// Counted under its reason.
    Dropped(Reason),
}

#[inline(always)]
fn ethertype<F: Frame>(frame: &F) -> Option<u16> {
    frame.read::<Ethernet>(0).map(|ethernet| u16::from_be(ethernet.ethertype))
}

/// One exit for all packets, where they are counted.
#[inline(always)]
fn verdict<M: Flows>(
    flows: &M,
    done: Result<(), Stop>,
    (packets, bytes): (Count, Count),
    length: usize,
) -> Verdict {
    match done {
        Ok(()) => {
            flows.count(packets, 1);
            flows.count(bytes, length as u64);
            Verdict::Translated
        }
        Err(Stop::Drop(reason)) => {
            flows.count_drop(reason);
            Verdict::Dropped(reason)
        }
        Err(Stop::Slow) => Verdict::New,
        Err(Stop::Pass | Stop::Reply) => Verdict::Untouched,
    }
}

/// A packet that is translated.
struct Translated {
    /// What of it becomes another: [`TASK_PORTS`] and so on.
    task: u8,
    protocol: u8,
    payload: usize,
    end: usize,
}

/// [`Translated::task`]: address and port.
const TASK_PORTS: u8 = 0;
/// [`Translated::task`]: address and identifier, of an ICMP query or its answer.
const TASK_IDENTIFIER: u8 = 1;
/// [`Translated::task`]: address, and both in the packet that an ICMP error quotes.
const TASK_QUOTE: u8 = 2;
/// [`Translated::task`]: the address, since a later fragment has nothing else.
const TASK_ADDRESS: u8 = 3;

impl Translated {
    #[inline(always)]
    const fn new(packet: &Packet, task: u8) -> Self {
        let Packet { protocol, payload, end, .. } = *packet;
        Self { task, protocol, payload, end }
    }

    /// As [`Packet::forget`].
    #[inline(always)]
    fn forget(self, one: u64) -> Self {
        Self {
            task: (u64::from(self.task) * one) as u8,
            protocol: (u64::from(self.protocol) * one) as u8,
            payload: (self.payload as u64 * one) as usize & FARTHEST_PAYLOAD,
            end: (self.end as u64 * one) as usize,
        }
    }

    /// Gives it another end; `before` is the port that it has there.
    #[inline(always)]
    fn rewrite<F: Sums, H: Version>(
        &self,
        frame: &mut F,
        (end, to): (End, Endpoint),
        before: u16,
    ) -> Result<(), Stop> {
        self.rewritten::<_, H>(frame, (end, to), before).ok_or(Stop::Drop(Reason::Truncated))
    }

    #[inline(always)]
    fn rewritten<F: Sums, H: Version>(
        &self,
        frame: &mut F,
        (end, to): (End, Endpoint),
        before: u16,
    ) -> Option<()> {
        let header = frame.read::<H>(ETHERNET)?;
        let pseudo = header.readdress(frame, ETHERNET, (end, to.address), 0)?;
        let (port_at, sum_at, pseudo) = match (self.task, self.protocol) {
            (TASK_ADDRESS, _) => return Some(()),
            (TASK_QUOTE, _) => {
                let place = (self.payload, self.end);
                return nat::quote::<_, H, true>(frame, place, (end.of_quote(), to), pseudo);
            }
            // ICMP for IPv4 has no pseudo-header.
            (TASK_IDENTIFIER, _) => {
                (offset_of!(Icmp, rest), offset_of!(Icmp, checksum), if H::IS_V4 { 0 } else { pseudo })
            }
            (_, TCP) => (end.port_at(), offset_of!(Tcp, checksum), pseudo),
            _ => (end.port_at(), offset_of!(Udp, checksum), pseudo),
        };
        frame.write(self.payload + port_at, to.port.to_be())?;
        let own = checksum::change(before, to.port);
        frame.change_sum::<H>(self.payload + sum_at, self.protocol, pseudo, own)
    }
}

/// TCP's flags; 0 of other protocols.
#[inline(always)]
fn tcp_flags<F: Frame>(frame: &F, packet: &Packet) -> Option<u8> {
    if packet.protocol == TCP { frame.read(packet.payload + offset_of!(Tcp, flags)) } else { Some(0) }
}

/// A whole ICMP message's first words.
#[inline(always)]
fn message<F: Frame>(frame: &F, packet: &Packet) -> Option<Icmp> {
    if packet.payload + size_of::<Icmp>() > packet.end { None } else { frame.read(packet.payload) }
}

/// Neighbours speak to addresses, not by routers (RFC 4861).
#[inline(always)]
const fn is_neighbour_discovery<H: IpHeader>(kind: u8, hop_limit: u8) -> bool {
    !H::IS_V4 && hop_limit == 255 && matches!(kind, 133..=137)
}

#[inline(always)]
const fn is_error<H: IpHeader>(kind: u8) -> bool {
    if H::IS_V4 { is_error_v4(kind) } else { is_error_v6(kind) }
}

/// The packet that an ICMP error is about.
#[derive(Clone, Copy)]
struct Quote {
    protocol: u8,
    source: Address,
    destination: Address,
    source_port: u16,
    destination_port: u16,
}

/// An ICMP query has its identifier for the port of whoever sent it, and 0 for the other one.
#[inline(always)]
fn quoted<F: Frame, H: Version>(frame: &F, packet: &Packet) -> Result<Quote, Stop> {
    let of_none = Stop::Drop(Reason::IcmpQuote);
    let start = packet.payload + size_of::<Icmp>();
    let header = frame.read::<H>(start).ok_or(Stop::Drop(Reason::Truncated))?;
    let (protocol, payload) = header.quoted(frame, start).ok_or(of_none)?;
    if payload + size_of::<Icmp>() > packet.end {
        return Err(of_none);
    }
    let (source, destination) = (header.source(), header.destination());
    if protocol == TCP || protocol == UDP {
        let ports = frame.read::<Ports>(payload).ok_or(of_none)?;
        let (source_port, destination_port) = (u16::from_be(ports.source), u16::from_be(ports.destination));
        return Ok(Quote { protocol, source, destination, source_port, destination_port });
    }
    let message = frame.read::<Icmp>(payload).ok_or(of_none)?;
    if protocol != H::ICMP as u8 {
        return Err(of_none);
    }
    let identifier = u16::from_be(message.rest as u16);
    if message.kind == H::ECHO.1 {
        Ok(Quote { protocol, source, destination, source_port: identifier, destination_port: 0 })
    } else if message.kind == H::ECHO.0 {
        Ok(Quote { protocol, source, destination, source_port: 0, destination_port: identifier })
    } else {
        Err(of_none)
    }
}
