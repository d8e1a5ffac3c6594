//! A packet's list of hops: who else may have its flow.

use core::mem::offset_of;

use super::{
    outer::{Outer, OuterHeader},
    sockets::Sockets,
};
use crate::{
    address::V4,
    checksum,
    frame::Frame,
    headers::{Gue, Hops, Ipv4, Ipv6, Macs, Udp},
    layout::{self, Block, Hop, SLOTS},
    nat::End,
    parse::{ETHERNET, Stop},
    pipeline::Verdict,
    reason::Reason,
};

/// Places in a list.
const PLACES: u8 = 7;
/// In [`Sockets::newest`]: a generation was heard of.
const HEARD: u64 = 1 << 32;

/// Remembers the newest generation of a ring that was heard of, and says whether this packet's is older.
#[inline(always)]
pub(super) fn is_stale<F: Frame, S: Sockets>(frame: &F, sockets: &S, outer: &Outer<'_>) -> bool {
    let generation = frame.read::<u32>(outer.hops + offset_of!(Hops, generation)).map_or(0, u32::from_be);
    let Some(word) = sockets.newest() else { return false };
    let newest = word.load();
    // Serial numbers (RFC 1982).
    let ahead = generation.wrapping_sub(newest as u32) as i32;
    if newest & HEARD == 0 || ahead > 0 {
        // Two CPUs may store in the wrong order; the next packet of the newer ring mends it.
        word.store(HEARD | u64::from(generation));
        return false;
    }
    ahead < 0
}

/// A hop that is known.
pub(super) struct Next<'b> {
    hop: &'b Hop,
    /// How many of the list were asked once it was.
    asked: u8,
}

/// The next hop that can be asked. One that this host does not know, or has no way to, is passed over.
#[inline(always)]
pub(super) fn next<'b, F: Frame>(frame: &F, block: &'b Block, outer: &Outer<'_>) -> Option<Next<'b>> {
    let list = outer.hops;
    let first = frame.read::<u8>(list + offset_of!(Hops, next))?;
    let count = frame.read::<u8>(list + offset_of!(Hops, count))?;
    for step in 0..PLACES {
        // The verifier takes the product for unknown, so all turns of the loop are alike to it.
        let at = (u64::from(first) + u64::from(step) * block.config.one) as u8;
        if at >= count || at >= PLACES {
            return None;
        }
        let place = list + offset_of!(Hops, hop0) + usize::from(at & 7) * size_of::<u32>();
        let id = u32::from_be(frame.read::<u32>(place)?);
        let slot = layout::slot(id.into(), block.config.hop_multiplier) & (SLOTS - 1);
        let hop = &block.hops[slot as usize];
        if id != 0 && hop.id == id && (hop.address.hi == V4) == (outer.is_v4 != 0) {
            return Some(Next { hop, asked: at + 1 });
        }
    }
    None
}

/// Sends the packet as it came to the next hop. The outer source stays the balancer's, or the next hop would not take it. No
/// hop is an address in the packet, so nobody can be made to send anything but to the service's own instances.
#[inline(always)]
pub(super) fn pass_on<F: Frame>(frame: &mut F, outer: &Outer<'_>, next: &Next<'_>) -> Result<Verdict, Stop> {
    if outer.is_v4 != 0 {
        readdress::<_, Ipv4>(frame, next)?;
    } else {
        readdress::<_, Ipv6>(frame, next)?;
    }
    let port = next.hop.port;
    Ok(if port == outer.interface.port { Verdict::Transmit } else { Verdict::Redirect(port) })
}

#[inline(always)]
fn readdress<F: Frame, H: OuterHeader>(frame: &mut F, next: &Next<'_>) -> Result<(), Stop> {
    const CHECKSUM: usize = offset_of!(Udp, checksum);
    const TRUNCATED: Stop = Stop::Drop(Reason::Truncated);

    let udp = ETHERNET + size_of::<H>();
    let list = udp + size_of::<Udp>() + size_of::<Gue>();
    let Some(header) = frame.read::<H>(ETHERNET) else { return Err(TRUNCATED) };
    let sum = frame.read::<u16>(udp + CHECKSUM).ok_or(TRUNCATED)?;
    let asked = frame.read::<u8>(list + offset_of!(Hops, next)).ok_or(TRUNCATED)?;
    let to = (End::Destination, next.hop.address);
    let change = header.readdress(frame, ETHERNET, to, 1).ok_or(Stop::Drop(Reason::HopLimit))?;
    frame.write(list + offset_of!(Hops, next), next.asked).ok_or(TRUNCATED)?;
    // Zero is no checksum, and stays so.
    if sum != 0 {
        // How many were asked is the first half of a word.
        let change = change + checksum::change(u16::from(asked) << 8, u16::from(next.asked) << 8);
        let sum = match checksum::adjust(u16::from_be(sum), change) {
            0 => 0xffff,
            sum => sum,
        };
        frame.write(udp + CHECKSUM, sum.to_be()).ok_or(TRUNCATED)?;
    }
    let [a, b, c] = next.hop.macs;
    frame.write(0, Macs { a, b, c }).ok_or(TRUNCATED)
}
