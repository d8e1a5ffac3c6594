//! What of the leased ports is in use.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use gateway_ebpf::snat::layout::{Entry, Key, Table};

use crate::plan::translation::{self, PortBlock, Protocol};

/// What of the leased ports is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// By public VIP: the blocks that are leased, and any other that still has flows.
    pub blocks: BTreeMap<IpAddr, BTreeMap<PortBlock, BlockUsage>>,
    /// Flows by public VIP and destination; the port of a ping's is 0.
    pub destinations: BTreeMap<(IpAddr, Protocol, SocketAddr), u32>,
    /// Ports of a VIP that one UDP socket, or one that pings, has for itself.
    whole: BTreeMap<(IpAddr, Protocol), u32>,
    /// Flows, by what they are of; a port that speaks to several peers has as many.
    pub flows: BTreeMap<Protocol, u64>,
}

/// What of eight ports is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockUsage {
    /// How many of the eight.
    pub ports: u8,
    /// By how many flows.
    pub flows: u32,
    /// Since when none is, as far as this process has seen: the least that it can be. Zero while one is.
    pub idle: Duration,
}

impl Usage {
    /// Ports in use, of a VIP.
    pub fn ports(&self, vip: IpAddr) -> u32 {
        let blocks = self.blocks.get(&vip).into_iter().flat_map(BTreeMap::values);
        blocks.map(|block| u32::from(block.ports)).sum()
    }

    /// Ports of a VIP that are in use towards the destination that has the most of them: where that are all, no flow begins there. To
    /// each TCP destination a port can be used anew; UDP and pings have theirs whoever the peer is.
    pub fn busiest(&self, vip: IpAddr) -> u32 {
        let tcp = self
            .destinations
            .iter()
            .filter(|((of, protocol, _), _)| *of == vip && *protocol == Protocol::Tcp);
        let whole = self.whole.iter().filter(|((of, _), _)| *of == vip);
        let counts = tcp.map(|(_, count)| *count).chain(whole.map(|(_, count)| *count));
        counts.max().unwrap_or_default()
    }

    /// Ports in use and ports that are leased, of all VIPs.
    pub fn total(&self) -> (u32, u32) {
        let used = self.blocks.keys().map(|&vip| self.ports(vip)).sum();
        let blocks: usize = self.blocks.values().map(BTreeMap::len).sum();
        (used, u32::try_from(blocks).unwrap_or(u32::MAX) * 8)
    }
}

/// Since when blocks are idle.
#[derive(Debug, Default)]
pub(super) struct Idle(BTreeMap<(IpAddr, PortBlock), Instant>);

impl Idle {
    /// What `flows` of the forward map, those that live, use of what is leased.
    pub(super) fn usage(&mut self, table: &Table, flows: &[(Key, Entry)], now: Instant) -> Usage {
        let mut used: BTreeMap<(u8, PortBlock), (u8, u32)> = BTreeMap::new();
        let mut usage = Usage::default();
        let addresses: BTreeMap<u8, IpAddr> =
            translation::vips(table).map(|(place, vip, _)| (place, vip)).collect();
        for (key, entry) in flows {
            let (bits, count) = used.entry((entry.vip(), PortBlock::of(entry.port()))).or_default();
            *bits |= 1 << (entry.port() & 7);
            let (Some(protocol), Some(&vip)) = (Protocol::of(key.protocol()), addresses.get(&entry.vip()))
            else {
                continue;
            };
            if key.is_for_all() {
                *usage.whole.entry((vip, protocol)).or_default() += 1;
                continue;
            }
            *count += 1;
            *usage.flows.entry(protocol).or_default() += 1;
            let to = SocketAddr::new(translation::address(key.peer), key.peer_port());
            *usage.destinations.entry((vip, protocol, to)).or_default() += 1;
        }
        let mut known = BTreeMap::new();
        for (place, vip, entry) in translation::vips(table) {
            let leased = (0..PortBlock::COUNT).filter(|&block| entry.states[usize::from(block)] != 0);
            let of_vip = used.range((place, PortBlock(0))..=(place, PortBlock(u16::MAX)));
            let with_flows = of_vip.map(|((_, block), _)| *block);
            let blocks = usage.blocks.entry(vip).or_default();
            for block in leased.map(PortBlock).chain(with_flows) {
                let (bits, flows) = used.get(&(place, block)).copied().unwrap_or_default();
                let since = match self.0.get(&(vip, block)) {
                    Some(&since) if bits == 0 => since,
                    _ => now,
                };
                known.insert((vip, block), since);
                let (ports, idle) = (bits.count_ones() as u8, now.saturating_duration_since(since));
                blocks.insert(block, BlockUsage { ports, flows, idle });
            }
        }
        self.0 = known;
        usage
    }
}
