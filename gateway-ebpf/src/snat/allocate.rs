//! A port for a flow that begins.
//!
//! The reverse entry comes first, and only where there is none: so two flows never share what answers are told apart by, whatever
//! other CPUs do. Then the forward one. A TCP port may be had by any number of flows to different peers. A UDP port, and an
//! identifier of ICMP, is had by one port of the host at a time, which has it towards everybody (RFC 4787 REQ-1).

use super::{
    layout::{BLOCK_PORTS, Count, Entry, Key, PORT_BLOCKS, RETURN_TO_DIP, SNAT_VIPS, Table},
    map::{Flows, Refused, Way},
    state,
};
use crate::{
    address::{Address, FIVE_TUPLE, V4, mix},
    reason::Reason,
};

/// Candidates of one attempt.
pub const TRIES: u32 = 34;
/// Attempts for one packet, which are programs that go on with one another: all the 1,024 ports that an instance has of a VIP by
/// default are looked at. The kernel lets 33 follow one, and the last is the one that sends the packet.
pub const ATTEMPTS: u32 = 31;
/// As many are at the VIP that is a flow's own, before others are asked.
const AT_HOME: u32 = 12;
/// Ticks after which an entry of the reverse map that nothing leads to is nobody's: both are made within one packet.
const ORPHAN: u32 = 8;

/// How far the search for a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// Where it began: of all ports of a VIP, so many 2³²nds are before it. The attempts follow one another, and miss none.
    pub start: u32,
    /// Attempts that were made.
    pub attempt: u32,
}

/// A flow as the host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// IANA's number.
    pub protocol: u8,
    /// The host's port, or identifier.
    pub port: u16,
    /// Whom it speaks to.
    pub peer: Address,
    /// At which port; 0 for ICMP.
    pub peer_port: u16,
}

impl Flow {
    /// Its place in the forward map.
    #[inline(always)]
    pub const fn key(self) -> Key {
        Key::forward(self.protocol, self.port, self.peer, self.peer_port)
    }

    /// The same, of which the verifier does not remember how it came to be: as [`crate::parse::Packet::forget`].
    #[inline(always)]
    pub fn forget(self, one: u64) -> Self {
        Self {
            protocol: (u64::from(self.protocol) * one) as u8,
            port: (u64::from(self.port) * one) as u16,
            peer: Address { hi: self.peer.hi.wrapping_mul(one), lo: self.peer.lo.wrapping_mul(one) },
            peer_port: (u64::from(self.peer_port) * one) as u16,
        }
    }

    /// The same port, whoever the peer is.
    #[inline(always)]
    pub const fn with_all(self) -> Self {
        let nobody = if self.peer.hi == V4 { Address::v4(0) } else { Address::v6(0, 0) };
        Self { peer: nobody, peer_port: 0, ..self }
    }

    /// Where the answers are, if it leaves by this.
    #[inline(always)]
    pub const fn back(self, table: &Table, entry: Entry) -> Key {
        Key::reverse(tag(table, entry.vip()), self.protocol, entry.port(), self.peer, self.peer_port)
    }

    /// Ports are not shared.
    #[inline(always)]
    pub const fn is_for_all(self) -> bool {
        const TCP: u8 = network_types::ip::IpProto::Tcp as u8;
        self.protocol != TCP
    }
}

/// How the reverse map tells VIPs apart.
#[inline(always)]
const fn tag(table: &Table, place: u8) -> u8 {
    if table.flags & RETURN_TO_DIP != 0 { 0 } else { place + 1 }
}

/// Why a flow has no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// None of these candidates was free. There are others.
    Again,
    /// It gets none.
    Never(Reason),
}

impl From<Reason> for Missed {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self::Never(reason)
    }
}

/// Gives a new flow VIP and port, and enters it. Where another CPU does so in the same moment, what that one gave holds.
#[inline(always)]
pub fn begin<M: Flows>(
    flows: &M,
    table: &Table,
    flow: Flow,
    search: Search,
    now: u32,
) -> Result<Entry, Missed> {
    let is_for_all = flow.is_for_all();
    let owner = if is_for_all { flow.with_all() } else { flow };
    let mapping = if is_for_all { keep(flows, owner, now) } else { None };
    let mapping = match mapping {
        Some(mapping) => mapping,
        None => {
            let entry = claim(flows, table, (owner, flow), search, now)?;
            enter(flows, table, owner, entry, now)?
        }
    };
    if !is_for_all {
        return Ok(mapping);
    }
    let mapping = mapping.with(now, 0);
    let (back, answer) = (flow.back(table, mapping), Entry::new(now, flow.port, mapping.vip(), 0));
    match flows.insert(Way::Reverse, back, answer) {
        Ok(()) => {}
        Err(Refused::Full) => return Err(Reason::SnatFull.into()),
        // Of whoever had the port before: now it is this flow's alone.
        Err(Refused::Taken) => {
            if let Some(there) = flows.get(Way::Reverse, back) {
                there.replace(there.load(), answer.0);
            }
        }
    }
    Ok(enter(flows, table, flow, mapping, now)?)
}

/// The port that a port of the host has towards everybody, which is used now.
#[inline(always)]
pub fn keep<M: Flows>(flows: &M, all: Flow, now: u32) -> Option<Entry> {
    let word = flows.get(Way::Forward, all.key())?;
    let seen = Entry(word.load());
    if seen.is_dead() {
        return None;
    }
    // Who takes it over makes it a dead one first: so whatever its age, it is ours if this succeeds.
    if seen.last() == now || word.replace(seen.0, seen.with(now, 0).0) {
        return Some(seen);
    }
    let seen = Entry(word.load());
    if seen.is_dead() { None } else { Some(seen) }
}

/// Enters a flow that has its reverse entry.
#[inline(always)]
fn enter<M: Flows>(flows: &M, table: &Table, flow: Flow, entry: Entry, now: u32) -> Result<Entry, Reason> {
    let key = flow.key();
    match flows.insert(Way::Forward, key, entry) {
        Ok(()) => return Ok(entry),
        Err(Refused::Taken) => {
            if let Some(there) = flows.get(Way::Forward, key) {
                let seen = Entry(there.load());
                let is_over = seen.is_dead() || state::is_over(seen, flow.protocol, &table.lives, now);
                if is_over && there.replace(seen.0, entry.0) {
                    return Ok(entry);
                }
                let seen = Entry(there.load());
                if !seen.is_dead() {
                    if !seen.is_like(entry) {
                        flows.remove(Way::Reverse, flow.back(table, entry));
                    }
                    return Ok(seen);
                }
            }
        }
        Err(Refused::Full) => {}
    }
    flows.remove(Way::Reverse, flow.back(table, entry));
    Err(Reason::SnatFull)
}

/// A reverse entry for `owner`, and with it a port. `wanted` is what the host is about to send, for the report if there is none.
#[inline(always)]
fn claim<M: Flows>(
    flows: &M,
    table: &Table,
    (owner, wanted): (Flow, Flow),
    search: Search,
    now: u32,
) -> Result<Entry, Missed> {
    let destination = Flow { port: 0, ..wanted }.key();
    // What a moment ago was looked for in vain is not looked for again with every packet.
    if search.attempt == 0 && flows.is_exhausted(destination, now) {
        return Err(Reason::SnatPort.into());
    }
    let turn = turn(table, owner, search.attempt).ok_or(Missed::Never(Reason::SnatLease))?;
    let (place, attempt) = (turn.place * table.one as u32, search.attempt * table.one as u32);
    let (owner, destination) = (owner.forget(table.one), destination.forget(table.one));
    let vip = &table.vips[place as usize & (SNAT_VIPS - 1)];
    let ports = vip.count as u32 * BLOCK_PORTS;
    let first = ((u64::from(search.start) * u64::from(ports)) >> 32) as u32;
    let mut at = (first + turn.earlier * TRIES).checked_rem(ports).unwrap_or(0);
    for tried in 1..=TRIES {
        // The eight ports of a block, and then on to the next.
        at = if at + 1 >= ports { 0 } else { at + 1 };
        // Forgotten, as above: else each turn would be walked once for every number that it may have by then.
        at = at.wrapping_mul(table.one as u32);
        let block = vip.active[(at >> 3) as usize & (PORT_BLOCKS - 1)];
        let entry = Entry::new(now, block << 3 | (at & 7) as u16, place as u8, 0);
        let (back, answer) = (owner.back(table, entry), Entry::new(now, owner.port, entry.vip(), 0));
        match flows.insert(Way::Reverse, back, answer) {
            Ok(()) => {
                flows.count(Count::Tries, tried.into());
                return Ok(entry.forget(table.one));
            }
            Err(Refused::Full) => return Err(Reason::SnatFull.into()),
            Err(Refused::Taken) => {}
        }
        if take_over(flows, table, (owner, entry), (back, answer), now) {
            flows.count(Count::Tries, tried.into());
            flows.count(Count::Replaced, 1);
            return Ok(entry.forget(table.one));
        }
    }
    flows.count(Count::Tries, TRIES.into());
    if attempt + 1 < ATTEMPTS {
        return Err(Missed::Again);
    }
    flows.exhausted(destination, now);
    Err(Reason::SnatPort.into())
}

/// What an attempt looks at.
struct Turn {
    /// Whose ports: [`Table::vips`].
    place: u32,
    /// Attempts before it at the same VIP.
    earlier: u32,
}

/// The first attempts are at the VIP that is the flow's own, and then all have their turns.
#[inline(always)]
fn turn(table: &Table, flow: Flow, attempt: u32) -> Option<Turn> {
    let choice = table.choices[crate::layout::family(flow.peer.hi == V4)];
    let count = choice as u32 & 15;
    let later = attempt.saturating_sub(AT_HOME);
    let (round, away) = (later.checked_div(count)?, later.checked_rem(count)?);
    let nth = home(table, flow).wrapping_add(away).checked_rem(count)?;
    let earlier = if away == 0 { attempt - later + round } else { round };
    let place = (choice >> (8 + 4 * (nth & 7))) as u32 & (SNAT_VIPS as u32 - 1);
    Some(Turn { place, earlier })
}

/// Where the search for a VIP begins. All that is for one host leaves by one VIP, and all of one port of this host
/// that leaves by the same port to all (RFC 4787 REQ-2): so they are spread by the peer, and by this instance's own address.
#[inline(always)]
fn home(table: &Table, flow: Flow) -> u32 {
    let dip = table.dips[crate::layout::family(flow.peer.hi == V4)];
    let by = crate::address::Flow { source: flow.peer, ports: 0, protocol: 0 };
    (mix(by.hash(dip.lo ^ dip.hi, FIVE_TUPLE)) >> 32) as u32
}

/// Takes the port from a flow that is over. That one is made a dead one first, so that no packet of its goes by it any more.
#[inline(always)]
fn take_over<M: Flows>(
    flows: &M,
    table: &Table,
    (flow, entry): (Flow, Entry),
    (back, answer): (Key, Entry),
    now: u32,
) -> bool {
    let flow = flow.forget(table.one);
    let Some(word) = flows.get(Way::Reverse, back) else { return false };
    let seen = Entry(word.load());
    let owner = flows.get(Way::Forward, Flow { port: seen.port(), ..flow }.key());
    match owner {
        Some(owner) if Entry(owner.load()).is_like(entry) => {
            let its = Entry(owner.load());
            let is_over = its.is_like(entry) && state::is_over(its, flow.protocol, &table.lives, now);
            if !is_over || !owner.replace(its.0, 0) {
                return false;
            }
        }
        _ if seen.idle(now) <= ORPHAN => return false,
        _ => {}
    }
    word.replace(seen.0, answer.0)
}
