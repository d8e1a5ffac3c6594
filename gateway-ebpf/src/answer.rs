//! What the balancer answers by itself, from the VIP: echo replies, ICMP errors about packets that it cannot forward, and resets
//! of flows whose instance is gone. An answer goes back by the interface and to the MAC address that its cause came from, with
//! the same VLAN tags.

use network_types::ip::IpProto;

use crate::{
    address::{Address, V4},
    checksum,
    encapsulate::TAGS,
    frame::{Frame, Shrink},
    headers::{Icmp, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Tcp},
    layout::Block,
    limit,
    parse::{Link, Packet, Stop},
    reason::Reason,
    tables::{Answered, Limit, Tables},
    version::{Cut, Version},
};

/// Whether a sender is told why its packet was dropped. The fast program leaves these to the slow way.
#[inline(always)]
pub const fn has_answer(reason: Reason) -> bool {
    matches!(reason, Reason::TooBig | Reason::HopLimit | Reason::Gone)
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub struct Cause<H> {
    /// Its link-layer header.
    pub link: Link,
    /// Its IP header.
    pub header: H,
    /// The rest of it.
    pub packet: Packet,
}

/// Turns an echo request without options into its reply (RFC 792, RFC 4443 §4.2). All that its checksum covers stays but the
/// type: swapped addresses add up to the same.
#[inline(always)]
pub fn echo<F: Frame, T: Tables, H: Version>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    cause: &Cause<H>,
) -> Result<(), Stop> {
    let Cause { header, packet, .. } = cause;
    if !is_unicast(packet.source) {
        return Err(Stop::Drop(Reason::IcmpEcho));
    }
    if !is_admitted(tables, block, Limit::Echo, packet.source) {
        return Err(Stop::Drop(Reason::RateLimit));
    }
    let truncated = Stop::Drop(Reason::Truncated);
    let request = frame.read::<Icmp>(packet.payload).ok_or(truncated)?;
    let (reply, asked) = H::ECHO;
    let sum = checksum::update(u16::from_be(request.checksum), u16::from(asked) << 8, u16::from(reply) << 8);
    // Where all else is zero, RFC 1624's zero is none: the other form of it is right always.
    let sum = if sum == 0 { 0xffff } else { sum };
    frame.write(packet.payload, Icmp { kind: reply, checksum: sum.to_be(), ..request }).ok_or(truncated)?;
    frame.write(packet.start, header.turned()).ok_or(truncated)?;
    let back = Back::of(frame).ok_or(truncated)?;
    back.put(frame).ok_or(truncated)?;
    tables.count_answer(Answered::Echo);
    Ok(())
}

/// Makes the answer to a packet that was dropped for a [`Reason`] by number, in its place; `None`: there is none, or not now.
/// `mtu` is what fits, where it was too big.
#[inline(always)]
pub fn refuse<F: Shrink, T: Tables, H: Version>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    cause: &Cause<H>,
    mtu: u16,
    reason: u64,
) -> Option<()> {
    let cut = cause.header.cut();
    if cut == Cut::Later || !is_unicast(cause.packet.source) {
        return None;
    }
    if reason == Reason::Gone as u64 {
        return reset(frame, tables, block, cause);
    }
    let ((kind, code), mtu) = if reason == Reason::HopLimit as u64 {
        (H::HOP_LIMIT, 0)
    } else if cut == Cut::May {
        return None;
    } else {
        (H::TOO_BIG, if mtu < H::LEAST_MTU { H::LEAST_MTU } else { mtu })
    };
    // As in the header: type, code, checksum, and the word behind it. Both errors are one way to the verifier.
    let head = u64::from(kind) << 56 | u64::from(code) << 48 | u64::from(mtu);
    error(frame, tables, block, cause, head * block.config.one)
}

/// An ICMP error that quotes the packet: a fresh header in front of it, and the end cut off.
#[inline(always)]
fn error<F: Shrink, T: Tables, H: Version>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    cause: &Cause<H>,
    head: u64,
) -> Option<()> {
    const ICMP: usize = size_of::<Icmp>();
    let Cause { link, header, packet } = cause;
    // What is forwarded of ICMP are errors: nothing is said about those (RFC 1122 §3.2.2, RFC 4443 §2.4e).
    if packet.protocol == H::ICMP as u8 || !is_admitted(tables, block, Limit::Error, packet.source) {
        return None;
    }
    let quote = if packet.length() < H::QUOTE { packet.length() } else { H::QUOTE };
    let back = Back::of(frame)?;
    let tags = frame.read::<u64>(TAGS)?;
    let ethertype = frame.read::<u16>(link.type_at)?;
    frame.grow(H::BYTES + ICMP)?;
    back.put(frame)?;
    frame.write(TAGS, tags)?;
    frame.write(link.type_at, ethertype)?;
    let message = link.end + H::BYTES;
    frame.write(link.end, header.answer(H::ICMP, ICMP + quote))?;
    frame.truncate(message + ICMP + quote)?;
    let pseudo = if H::IS_V4 { 0 } else { pseudo(header, H::ICMP, ICMP + quote) };
    let quoted = sum_to_end(frame, message + ICMP, H::QUOTE, block.config.one);
    let sum = pseudo + (head >> 32) + (head & 0xffff_ffff) + quoted;
    let checksum = u64::from(!checksum::fold(sum)) << 32;
    frame.write(message, (head | checksum).to_be())?;
    tables.count_answer(Answered::Error);
    Some(())
}

/// What a closed port answers (RFC 9293 §3.10.7.1): never to a reset.
#[inline(always)]
fn reset<F: Shrink, T: Tables, H: Version>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    cause: &Cause<H>,
) -> Option<()> {
    const TCP: usize = size_of::<Tcp>();
    let Cause { header, packet, .. } = cause;
    if packet.protocol != IpProto::Tcp as u8 {
        return None;
    }
    let segment = frame.read::<Tcp>(packet.payload)?;
    if segment.flags & TCP_RST != 0 || !is_admitted(tables, block, Limit::Reset, packet.source) {
        return None;
    }
    let (sequence, acknowledgment, flags) = if segment.flags & TCP_ACK != 0 {
        (u32::from_be(segment.acknowledgment), 0, TCP_RST)
    } else {
        let data = (packet.end - packet.payload) as u32 - u32::from(segment.offset >> 4) * 4;
        let begins_or_ends =
            u32::from(segment.flags & TCP_SYN != 0) + u32::from(segment.flags & TCP_FIN != 0);
        let next = u32::from_be(segment.sequence).wrapping_add(data).wrapping_add(begins_or_ends);
        (0, next, TCP_RST | TCP_ACK)
    };
    const OFFSET: u8 = 5 << 4;
    let sum = pseudo(header, IpProto::Tcp, TCP)
        + u64::from(u32::from_be(segment.ports))
        + u64::from(sequence)
        + u64::from(acknowledgment)
        + (u64::from(OFFSET) << 8 | u64::from(flags));
    let answer = Tcp {
        ports: segment.ports.rotate_left(16),
        sequence: sequence.to_be(),
        acknowledgment: acknowledgment.to_be(),
        offset: OFFSET,
        flags,
        window: 0,
        checksum: (!checksum::fold(sum)).to_be(),
        urgent: 0,
    };
    let back = Back::of(frame)?;
    back.put(frame)?;
    frame.write(packet.start, header.answer(IpProto::Tcp, TCP))?;
    frame.write(packet.start + H::BYTES, answer)?;
    frame.truncate(packet.start + H::BYTES + TCP)?;
    tables.count_answer(Answered::Reset);
    Some(())
}

/// Takes a token, or counts that there was none.
#[inline(always)]
fn is_admitted<T: Tables>(tables: &T, block: &Block, limit: Limit, source: Address) -> bool {
    let is_admitted = limit::admits(tables, limit, source, block.config.note_salt);
    if !is_admitted {
        tables.count_answer(Answered::Limited);
    }
    is_admitted
}

/// Whether it can be the address of one host (RFC 1122 §3.2.1.3, RFC 4291 §2.5).
#[inline(always)]
const fn is_unicast(address: Address) -> bool {
    if address.hi == V4 {
        let network = address.lo >> 24;
        network != 0 && network != 127 && network < 224
    } else {
        !(address.hi == 0 && address.lo <= 1) && address.hi >> 56 != 0xff
    }
}

/// The sum of the words of a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1), the same in both directions.
#[inline(always)]
fn pseudo<H: Version>(header: &H, protocol: IpProto, length: usize) -> u64 {
    checksum::of_address(header.source())
        + checksum::of_address(header.destination())
        + protocol as u64
        + length as u64
}

/// The sum of all 16-bit words from an offset to the frame's end, `most` bytes at most. `one` as in
/// [`crate::layout::Config::one`]: the verifier would else walk what follows once for each length.
#[inline(always)]
fn sum_to_end<F: Frame>(frame: &F, from: usize, most: usize, one: u64) -> u64 {
    const FARTHEST: usize = 2047;
    let mut at = from;
    let mut sum = 0;
    for _ in 0..most / size_of::<u64>() {
        let Some(words) = frame.read::<u64>(at) else { break };
        let words = u64::from_be(words);
        sum += (words >> 32) + (words & 0xffff_ffff);
        at += size_of::<u64>();
    }
    at = (at as u64 * one) as usize & FARTHEST;
    if let Some(word) = frame.read::<u32>(at) {
        sum += u64::from(u32::from_be(word));
        at += size_of::<u32>();
    }
    if let Some(word) = frame.read::<u16>(at) {
        sum += u64::from(u16::from_be(word));
        at += size_of::<u16>();
    }
    if let Some(byte) = frame.read::<u8>(at) {
        sum += u64::from(byte) << 8;
    }
    sum
}

/// Both addresses of the link, the other way round.
#[derive(Debug, Clone, Copy)]
struct Back {
    to: u32,
    to_rest: u16,
    from: u32,
    from_rest: u16,
}

impl Back {
    #[inline(always)]
    fn of<F: Frame>(frame: &F) -> Option<Self> {
        Some(Self {
            to: frame.read(6)?,
            to_rest: frame.read(10)?,
            from: frame.read(0)?,
            from_rest: frame.read(4)?,
        })
    }

    #[inline(always)]
    fn put<F: Frame>(self, frame: &mut F) -> Option<()> {
        frame.write(0, self.to)?;
        frame.write(4, self.to_rest)?;
        frame.write(6, self.from)?;
        frame.write(10, self.from_rest)
    }
}
