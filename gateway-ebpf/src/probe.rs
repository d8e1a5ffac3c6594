//! The host's own connections to a VIP at one instance: what clients use is tested the way that clients use it.
//!
//! On the balancer a VIP is a local address, so a socket that is connected to it never leaves the host, and what instances answer
//! from it would be refused as a packet from oneself. So the socket is connected to the instance's own address (DIP), and its
//! packets are clients' packets on the link alone:
//!
//! ```text
//! socket ─► host:port > DIP:443 ─► leave  ─► host:port > VIP:443, to the instance's MAC or in its tunnel ─► link
//! socket ◄─ DIP:443 > host:port ◄─ arrive ◄─ VIP:443 > host:port                                         ◄─ link
//! ```
//!
//! Only what is in the table of connections is touched, each by both addresses and ports. In nat mode there is nothing to do: a client's
//! packet gets to the instance's own address as well.

use core::mem::offset_of;

use network_types::ip::IpProto;

use crate::{
    address::{self, FIVE_TUPLE, Flow, mix},
    encapsulate::{self, Tunnel},
    frame::Frame,
    headers::{Ethernet, Ipv4, Ipv6, Macs, Tcp},
    hops::HopList,
    layout::{
        self, Block, INSTANCES, PROBE_PORT, PROBES, Probe, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6,
        WAY_LINK, WAY_NONE,
    },
    nat::End,
    parse::{self, ETHERNET, IpHeader, Link, Packet},
    pipeline,
};

/// A packet on its way between this host's stack and the link.
pub trait StackFrame: Frame {
    /// The TCP checksum at `offset`, after an address of the packet has become another one, by which the sum of its pseudo-header is
    /// different now. The sum that is there may not be finished: network cards do that.
    fn change_checksum<H: IpHeader>(&mut self, offset: usize, change: u64) -> Option<()>;

    /// What the frame is about to grow by: the outer header of such a way.
    fn tunnel(&mut self, way: u16);
}

/// The tables, and where the packet leaves.
pub trait Probes {
    /// All tables but the next.
    fn block(&self) -> Option<&Block>;
    /// The connection in a slot below [`PROBES`].
    fn probe(&self, slot: u32) -> Option<&Probe>;
    /// The kernel's index of the interface.
    fn interface(&self) -> u32;
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A stranger's.
    Untouched,
    /// Of a connection in the table: rewritten.
    Rewritten,
    /// Of a connection in the table, and its instance cannot be reached by this interface.
    Lost,
}

/// What the host sends.
#[inline(always)]
pub fn leave<F: StackFrame, P: Probes>(frame: &mut F, probes: &P) -> Verdict {
    let done = match ethertype(frame) {
        Some(parse::IPV4) => leave_as::<_, _, Ipv4>(frame, probes),
        Some(parse::IPV6) => leave_as::<_, _, Ipv6>(frame, probes),
        _ => None,
    };
    done.unwrap_or(Verdict::Untouched)
}

/// What comes to the host.
#[inline(always)]
pub fn arrive<F: StackFrame, P: Probes>(frame: &mut F, probes: &P) -> Verdict {
    let done = match ethertype(frame) {
        Some(parse::IPV4) => arrive_as::<_, _, Ipv4>(frame, probes),
        Some(parse::IPV6) => arrive_as::<_, _, Ipv6>(frame, probes),
        _ => None,
    };
    done.unwrap_or(Verdict::Untouched)
}

#[inline(always)]
fn ethertype<F: Frame>(frame: &F) -> Option<u16> {
    frame.read::<Ethernet>(0).map(|ethernet| u16::from_be(ethernet.ethertype))
}

/// `None`: a stranger's.
#[inline(always)]
fn leave_as<F: StackFrame, P: Probes, H: IpHeader>(frame: &mut F, probes: &P) -> Option<Verdict> {
    let header = frame.read::<H>(ETHERNET)?;
    let (packet, ports) = segment(frame, &header)?;
    let (own, port) = ((ports >> 16) as u16, ports as u16);
    let probe = find(probes, own)?;
    if probe.port != port || probe.source != header.source() || probe.dip != header.destination() {
        return None;
    }
    let block = probes.block()?;
    let number = u32::from(probe.instance) & (INSTANCES - 1);
    let instance = &block.instances[number as usize][layout::family(H::IS_V4)];
    // Through another interface nobody would be at that MAC address.
    let by_interface =
        pipeline::interface(block, probes.interface()).is_some_and(|ours| ours.port == instance.port);
    if instance.way == WAY_NONE || !by_interface {
        return Some(Verdict::Lost);
    }
    let change = header.readdress(frame, ETHERNET, (End::Destination, probe.vip), 0)?;
    frame.change_checksum::<H>(packet.payload + offset_of!(Tcp, checksum), change)?;
    let header = frame.read::<H>(ETHERNET)?;
    let link =
        Link { ethernet: frame.read(0)?, ethertype: ethertype(frame)?, type_at: ETHERNET - 2, end: ETHERNET };
    let flow = Flow { source: probe.source, ports: address::ports(own, port), protocol: packet.protocol };
    // Spread as clients' flows are, over the ways that routers have.
    let gue = || Tunnel::Gue {
        source_port: 0xc000 | mix(flow.hash(0, FIVE_TUPLE)) as u16,
        hops: HopList::default(),
    };
    frame.tunnel(instance.way);
    let sent = match instance.way {
        WAY_LINK => {
            let [a, b, c] = instance.macs;
            return frame.write(0, Macs { a, b, c }).map(|()| Verdict::Rewritten);
        }
        // No packet is too big: the socket was told what fits.
        WAY_IPIP4 => {
            encapsulate::over_v4::<_, _, false>(frame, &link, &header, &packet, instance, Tunnel::Ipip)
        }
        WAY_IPIP6 => {
            encapsulate::over_v6::<_, _, false>(frame, &link, &header, &packet, instance, Tunnel::Ipip)
        }
        WAY_GUE4 => encapsulate::over_v4::<_, _, false>(frame, &link, &header, &packet, instance, gue()),
        WAY_GUE6 => encapsulate::over_v6::<_, _, false>(frame, &link, &header, &packet, instance, gue()),
        _ => return Some(Verdict::Lost),
    };
    Some(if sent.is_ok() { Verdict::Rewritten } else { Verdict::Lost })
}

/// `None`: a stranger's.
#[inline(always)]
fn arrive_as<F: StackFrame, P: Probes, H: IpHeader>(frame: &mut F, probes: &P) -> Option<Verdict> {
    let header = frame.read::<H>(ETHERNET)?;
    let (packet, ports) = segment(frame, &header)?;
    let (port, own) = ((ports >> 16) as u16, ports as u16);
    let probe = find(probes, own)?;
    if probe.port != port || probe.source != header.destination() || probe.vip != header.source() {
        return None;
    }
    let change = header.readdress(frame, ETHERNET, (End::Source, probe.dip), 0)?;
    frame.change_checksum::<H>(packet.payload + offset_of!(Tcp, checksum), change)?;
    Some(Verdict::Rewritten)
}

/// A whole TCP segment behind a plain header, and its ports. All that the sockets of probes send and are sent is such.
#[inline(always)]
fn segment<F: Frame, H: IpHeader>(frame: &F, header: &H) -> Option<(Packet, u32)> {
    let packet = header.packet::<_, false>(frame, ETHERNET).ok()?;
    if packet.protocol != IpProto::Tcp as u8 || packet.payload + size_of::<Tcp>() > packet.end {
        return None;
    }
    Some((packet, u32::from_be(frame.read(packet.payload)?)))
}

#[inline(always)]
fn find<P: Probes>(probes: &P, port: u16) -> Option<&Probe> {
    if port < PROBE_PORT {
        return None;
    }
    probes.probe(u32::from(port - PROBE_PORT) & (PROBES - 1)).filter(|probe| probe.source_port == port)
}
