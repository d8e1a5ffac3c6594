//! The whole way of a packet.
//!
//! It is built twice. The *fast* program knows what nearly every packet is: TCP or UDP without tags, options, extension headers
//! or fragments. Whatever else concerns a VIP it hands to the *slow* program ([`Verdict::Slow`]), which knows everything and decides
//! anew from the frame, so nothing is carried over. That one does not rewrite: what has to be done is a [`Job`], which a third
//! program does ([`crate::finish`]). So the verifier walks all ways to decide and all ways to rewrite, and not their product.
//! In nat mode a fourth one takes what instances send to clients ([`crate::reply`]).

use crate::{
    address::V4,
    admit::{self, Stopped},
    answer,
    finish::{Job, TASK_ANSWER, TASK_ECHO, TASK_FORWARD, TASK_RESET},
    fragment,
    frame::Frame,
    headers::{Ethernet, Ipv4, Ipv6},
    hops::HopList,
    layout::{self, Block, FLAG_NAT, INSTANCES, INTERFACES, Interface, SLOTS, Vip},
    parse::{self, FARTHEST, IpHeader, Link, Packet, Stop},
    reason::Reason,
    rewrite::{self, Ask},
    steer::{self, NO_BUCKET, Segment},
    step::Step,
    tables::Tables,
    version::Version,
};
#[cfg(not(target_arch = "bpf"))]
use crate::{finish, frame::Shrink, reply};

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
    /// Up the stack: its instance is this host, and nothing is around it any more; or it is a reply with its VIP that the kernel
    /// finds the way for.
    Deliver,
    /// Untouched and not counted: the slow program's.
    Slow,
    /// Untouched and not counted: the reply program's ([`crate::reply`]).
    Reply,
}

/// Decides on one packet, and rewrites it where it is forwarded: what the programs together do.
#[cfg(not(target_arch = "bpf"))]
pub fn balance<F: Shrink, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let mut verdict = fast(frame, tables);
    if verdict == Verdict::Slow {
        tables.tell(|| Step::Slow);
        verdict = match slow(frame, tables) {
            Ok(job) => {
                let verdict = finish::finish(frame, tables, &job);
                finish::answer(frame, tables, &job, verdict)
            }
            Err(verdict) => verdict,
        };
    }
    if verdict == Verdict::Reply {
        tables.tell(|| Step::Reply);
        verdict = reply::reply(frame, tables);
    }
    verdict
}

/// What nearly every packet needs.
#[inline(always)]
pub fn fast<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let Some(block) = tables.block() else { return Verdict::Pass };
    let decided = match link::<_, false>(frame, block) {
        Ok(link) => match link.ethertype {
            parse::IPV4 => forward::<_, _, Ipv4>(frame, tables, block, &link),
            parse::IPV6 => forward::<_, _, Ipv6>(frame, tables, block, &link),
            _ => Decided::from(NOT_OURS),
        },
        Err(stopped) => Decided::from(stopped),
    };
    match decided.stop {
        None => match decided.out {
            Decided::TRANSMIT => Verdict::Transmit,
            Decided::DELIVER => Verdict::Deliver,
            port => Verdict::Redirect(port),
        },
        // The slow way finds it out again, counts and answers.
        Some(Stop::Drop(reason)) if answer::has_answer(reason) => Verdict::Slow,
        Some(stop) => self::stop(tables, Stopped { scope: decided.scope, stop }),
    }
}

/// What the fast program decided. Every byte of it is defined, whatever it is: a `Result` that small is packed into one word,
/// with shifts also of the parts that a variant does not have. Those are whatever a register holds, and if that is a pointer the
/// verifier refuses the shift.
#[derive(Clone, Copy)]
struct Decided {
    scope: u16,
    stop: Option<Stop>,
    /// Where to, if nothing stopped it: the interface's port, or one of the two below.
    out: u16,
}

impl Decided {
    const TRANSMIT: u16 = u16::MAX;
    const DELIVER: u16 = u16::MAX - 1;
}

impl From<Stopped> for Decided {
    #[inline(always)]
    fn from(stopped: Stopped) -> Self {
        Self { scope: stopped.scope, stop: Some(stopped.stop), out: 0 }
    }
}

/// Decides on everything: what is to be done, or what has become of the packet.
#[inline(always)]
pub fn slow<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<Job, Verdict> {
    let Some(block) = tables.block() else { return Err(Verdict::Pass) };
    let decided = match link::<_, true>(frame, block) {
        Ok(link) => match link.ethertype {
            parse::IPV4 => job::<_, _, Ipv4>(frame, tables, block, &link),
            parse::IPV6 => job::<_, _, Ipv6>(frame, tables, block, &link),
            _ => Err(NOT_OURS),
        },
        Err(stopped) => Err(stopped),
    };
    decided.map_err(|stopped| stop(tables, stopped))
}

pub(crate) const NOT_OURS: Stopped = Stopped { scope: 0, stop: Stop::Pass };

/// One exit for all that is not forwarded: what counts drops, and raises the event of a first one, is there once.
#[inline(always)]
pub(crate) fn stop<T: Tables>(tables: &T, stopped: Stopped) -> Verdict {
    crate::rare();
    match stopped.stop {
        Stop::Slow => Verdict::Slow,
        Stop::Reply => Verdict::Reply,
        Stop::Pass => Verdict::Pass,
        Stop::Drop(reason) => {
            tables.count_drop(stopped.scope, reason);
            Verdict::Drop(reason)
        }
    }
}

#[inline(always)]
pub(crate) fn link<F: Frame, const FULL: bool>(frame: &F, block: &Block) -> Result<Link, Stopped> {
    parse::link::<_, FULL>(frame, block.config.one).map_err(|stop| Stopped { scope: 0, stop })
}

/// A sound packet for a VIP.
struct Arrived<'b, H> {
    interface: &'b Interface,
    vip: &'b Vip,
    header: H,
    packet: Packet,
}

#[inline(always)]
fn arrive<'b, F: Frame, T: Tables, H: IpHeader, const FULL: bool>(
    frame: &F,
    tables: &T,
    block: &'b Block,
    link: &Link,
) -> Result<Arrived<'b, H>, Stopped> {
    // The VIP is looked up before anything is judged: what is not for one is none of ours, however odd (R24).
    let Some(header) = frame.read::<H>(link.end) else { return Err(NOT_OURS) };
    let destination = header.destination();
    let vip = &block.vips[(destination.slot(block.config.vip_multiplier) & (SLOTS - 1)) as usize];
    // An IPv6 destination that has the form of an IPv4 one (`address::V4`) is multicast and no VIP.
    if vip.address != destination || (destination.hi == V4) != H::IS_V4 {
        return Err(not_for_a_vip(block, &header));
    }
    tables.tell(|| Step::Vip(*vip));
    let of_vip = |stop| Stopped { scope: vip.scope, stop };
    let interface = ingress(frame, tables, block, vip, link).map_err(of_vip)?;
    let packet = header.packet::<_, FULL>(frame, link.end).map_err(of_vip)?;
    let packet = if FULL { packet.forget(block.config.one) } else { packet };
    fragment::check(vip, &packet).map_err(|reason| of_vip(reason.into()))?;
    Ok(Arrived { interface, vip, header, packet })
}

/// Foreign traffic, unless it is from an instance whose replies come this way.
#[inline(always)]
fn not_for_a_vip<H: IpHeader>(block: &Block, header: &H) -> Stopped {
    if block.config.flags & FLAG_NAT == 0 {
        return NOT_OURS;
    }
    if block.is_peer(header.source()) { Stopped { scope: 0, stop: Stop::Reply } } else { NOT_OURS }
}

/// The interface by which the frame came, if it is one for this VIP and the frame is addressed to it. A frame for another host
/// is here because the link floods it: forwarded again it would circle, and passed on it could reach this host by another
/// interface's MAC.
#[inline(always)]
pub(crate) fn ingress<'b, F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    block: &'b Block,
    vip: &Vip,
    link: &Link,
) -> Result<&'b Interface, Stop> {
    // An empty slot has the address `::`, which is nobody's; seen here, where no packet on its way comes by.
    let elsewhere = || if vip.scope == 0 { Stop::Pass } else { Stop::Drop(Reason::Interface) };
    let Some(interface) = interface(block, tables.interface()) else { return Err(elsewhere()) };
    if interface.sides & vip.sides == 0 {
        return Err(elsewhere());
    }
    if is_for(link, interface) {
        return Ok(interface);
    }
    // The group bit is the lowest of the first byte on the wire (IEEE 802 §8.2). Read again: a bit that is asked for here would have
    // LLVM load the address for the comparison above byte by byte.
    let is_group = frame.read::<u8>(0).is_some_and(|first| first & 1 != 0);
    Err(Stop::Drop(if is_group { Reason::LinkMulticast } else { Reason::OtherHost }))
}

/// The interface of this index, if it is one of ours.
#[inline(always)]
pub(crate) fn interface(block: &Block, index: u32) -> Option<&Interface> {
    let slot = Interface::slot(index, block.config.interface_multiplier) & (INTERFACES - 1);
    let interface = &block.interfaces[slot as usize];
    if interface.index == index { Some(interface) } else { None }
}

/// The frame is addressed to the interface.
#[inline(always)]
pub(crate) fn is_for(link: &Link, interface: &Interface) -> bool {
    let Ethernet { destination, destination_rest, .. } = link.ethernet;
    destination == interface.mac && destination_rest == interface.mac_rest
}

/// The fast program's way: decide and rewrite at once.
#[inline(always)]
fn forward<F: Frame, T: Tables, H: IpHeader>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Decided {
    let Arrived { interface, vip, header, packet } =
        match arrive::<_, _, H, false>(frame, tables, block, link) {
            Ok(arrived) => arrived,
            Err(stopped) => return stopped.into(),
        };
    let admitted = match admit::admit::<_, false>(frame, block, vip, &packet) {
        Ok(admitted) => admitted,
        Err(stopped) => return stopped.into(),
    };
    tables.tell(|| admitted.step());
    let scope = admitted.scope;
    let family = layout::family(H::IS_V4);
    let steered = match steer::steer::<_, false>(tables, block, vip.salt, &admitted, family) {
        Ok(steered) => steered,
        Err(stop) => return Stopped { scope, stop }.into(),
    };
    let number = u32::from(steered.instance) & (INSTANCES - 1);
    let instance = &block.instances[number as usize][family];
    tables.tell(|| Step::Instance { number: steered.instance, entry: *instance });
    let bytes = frame.length() as u64;
    let backend_port = admitted.backend_port;
    let ask = Ask { hash: steered.hash, backend_port, hops: HopList::default() };
    if let Err(stop) = rewrite::rewrite::<_, _, false>(frame, link, &header, &packet, instance, ask) {
        return Stopped { scope, stop }.into();
    }
    if let Some(settled) = steered.settled {
        crate::rare();
        tables.count_settled(settled);
    }
    tables.count(scope, steered.instance, bytes, admitted.segment.syns());
    let out = match rewrite::egress(instance, interface.port) {
        Verdict::Redirect(port) => port,
        Verdict::Deliver => Decided::DELIVER,
        _ => Decided::TRANSMIT,
    };
    Decided { scope, stop: None, out }
}

/// The slow program's: what is to be done.
#[inline(always)]
fn job<F: Frame, T: Tables, H: Version>(
    frame: &F,
    tables: &T,
    block: &Block,
    link: &Link,
) -> Result<Job, Stopped> {
    let Arrived { interface, vip, packet, .. } = arrive::<_, _, H, true>(frame, tables, block, link)?;
    // Here and not where it is rewritten: there LLVM would leave out the masks, which older verifiers go by.
    if packet.payload > usize::from(FARTHEST) {
        return Err(Stopped { scope: vip.scope, stop: Stop::Drop(Reason::ExtensionDepth) });
    }
    if packet.end > usize::from(u16::MAX) {
        return Err(Stopped { scope: vip.scope, stop: Stop::Drop(Reason::BadLength) });
    }
    let job = Job {
        is_v4: H::IS_V4.into(),
        protocol: packet.protocol,
        port: interface.port,
        type_at: link.type_at as u16,
        start: packet.start as u16,
        payload: packet.payload as u16,
        end: packet.end as u16,
        bucket: NO_BUCKET,
        bucket_before: NO_BUCKET,
        ..Job::default()
    };
    if packet.part.is_later() {
        let (note, hash) = fragment::follow(tables, block, vip, &packet)
            .map_err(|reason| Stopped { scope: vip.scope, stop: reason.into() })?;
        tables.tell(|| Step::Fragment);
        return Ok(Job { hash, task: TASK_FORWARD, scope: note.scope(), instance: note.instance(), ..job });
    }
    let admitted = match admit::admit::<_, true>(frame, block, vip, &packet) {
        Ok(admitted) => admitted,
        Err(stopped) if stopped.stop == Stop::Drop(Reason::IcmpEcho) => {
            return if admit::may_ping(block, vip, &packet, H::BYTES)? {
                tables.tell(|| Step::Ping);
                Ok(Job { task: TASK_ECHO, scope: stopped.scope, ..job })
            } else {
                Err(stopped)
            };
        }
        Err(stopped) => return Err(stopped),
    };
    tables.tell(|| admitted.step());
    let job = Job { scope: admitted.scope, ..job };
    let family = layout::family(H::IS_V4);
    match steer::steer::<_, true>(tables, block, vip.salt, &admitted, family) {
        Ok(steered) => {
            if let Some(settled) = steered.settled {
                tables.count_settled(settled);
            }
            if !packet.part.is_whole() {
                fragment::note(tables, block, vip, &packet, job.scope, steered.instance);
            }
            let is_answer = packet.protocol == H::ICMP as u8 && matches!(admitted.segment, Segment::Datagram);
            Ok(Job {
                hash: steered.hash,
                bucket: steered.bucket,
                bucket_before: steered.bucket_before,
                task: if is_answer { TASK_ANSWER } else { TASK_FORWARD },
                syns: admitted.segment.syns() as u8,
                instance: steered.instance,
                backend_port: if is_answer { 0 } else { admitted.backend_port },
                ..job
            })
        }
        Err(Stop::Drop(Reason::Gone)) => Ok(Job { task: TASK_RESET, ..job }),
        Err(stop) => Err(Stopped { scope: job.scope, stop }),
    }
}
