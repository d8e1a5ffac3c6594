//! How instances are reached, as finished entries of the kernel's tables.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use gateway_ebpf::{
    address::Address,
    checksum,
    layout::{
        self, INTERFACES, Instance, STATE_GONE, STATE_LIVE, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6,
        WAY_LINK, WAY_LOCAL, WAY_NAT, WAY_NONE,
    },
};
use network_types::ip::IpProto;

use super::{Desired, Error, Interface, Mac, Side, Way, hop_id};
use crate::model::{self, Forwarding, InstanceName};

/// Bytes of an IPv4 header.
const IPV4: u16 = 20;
/// Bytes of an IPv6 header.
const IPV6: u16 = 40;
/// Bytes of a UDP and a GUE header.
const GUE: u16 = 12;
/// What an outer IPv4 header has in words that no packet changes: version and length, DF, 64 hops.
const IPV4_WORDS: u64 = 0x4500 + 0x4000 + 0x4000;

/// The interfaces by slot, and the multiplier under which no two share one. The running multiplier is kept if it will do:
/// interfaces are the same while the program runs.
pub(super) fn interfaces(
    interfaces: &[Interface],
    running: Option<u32>,
) -> Result<(u32, BTreeMap<u32, layout::Interface>), Error> {
    let candidates = (0..10_000u32).map(|n| 0x9e37_79b9_u32.wrapping_mul(2 * n + 1));
    running
        .into_iter()
        .chain(candidates)
        .find_map(|multiplier| {
            let table: BTreeMap<u32, layout::Interface> = (0..)
                .zip(interfaces)
                .map(|(port, interface)| {
                    (layout::Interface::slot(interface.index, multiplier), entry(port, interface))
                })
                .collect();
            (table.len() == interfaces.len()).then_some((multiplier, table))
        })
        .ok_or(Error::NoNumber { what: "interfaces", limit: INTERFACES })
}

fn entry(port: u16, interface: &Interface) -> layout::Interface {
    let [a, b, c, d, e, f] = interface.mac;
    layout::Interface {
        index: interface.index,
        mac: u32::from_ne_bytes([a, b, c, d]),
        mac_rest: u16::from_ne_bytes([e, f]),
        sides: match interface.side {
            Side::Both => layout::SIDE_INSIDE | layout::SIDE_OUTSIDE,
            Side::Inside => layout::SIDE_INSIDE,
            Side::Outside => layout::SIDE_OUTSIDE,
        },
        port,
        pad: 0,
    }
}

/// Whether packets get to an instance: of every family that a VIP has. (But in nat mode, one way takes both.)
pub(super) fn is_reached(desired: &Desired, instance: &model::Instance) -> bool {
    let entries = entries(desired, &instance.name);
    desired.model.vip.all().all(|vip| entries[layout::family(vip.is_ipv4())].way != WAY_NONE)
}

/// An instance's entries, for packets over IPv4 and over IPv6.
pub(super) fn entries(desired: &Desired, name: &InstanceName) -> [Instance; 2] {
    let state = if desired.gone.contains(name) { STATE_GONE } else { STATE_LIVE };
    let id = hop_id(&desired.model.balancer.seed, name);
    let known = |way| Instance { way, state, id, ..Instance::default() };
    if desired.local.as_ref() == Some(name) {
        return [known(WAY_LOCAL); 2];
    }
    let ways = ways_to(desired, name);
    [true, false].map(|is_v4| {
        let nat = desired.model.balancer.forwarding == Forwarding::Nat;
        // In nat mode the address is of the packet's family; all other ways take both.
        let way = ways.iter().find(|(dip, _)| !nat || dip.is_ipv4() == is_v4);
        way.map_or(known(WAY_NONE), |(dip, way)| entry_of(desired, *dip, way, is_v4, known(WAY_NONE)))
    })
}

fn entry_of(desired: &Desired, dip: IpAddr, way: &Way, is_v4: bool, entry: Instance) -> Instance {
    let Some((port, ours)) = (0..).zip(&desired.interfaces).find(|(_, i)| i.index == way.interface) else {
        return entry;
    };
    let inner = if is_v4 { IpProto::Ipv4 } else { IpProto::Ipv6 };
    let (kind, overhead, protocol) = match (desired.model.balancer.forwarding, dip.is_ipv4()) {
        (Forwarding::L2, _) => (WAY_LINK, 0, inner),
        (Forwarding::Nat, _) => (WAY_NAT, 0, inner),
        (Forwarding::Ipip, true) => (WAY_IPIP4, IPV4, inner),
        (Forwarding::Ipip, false) => (WAY_IPIP6, IPV6, inner),
        (Forwarding::Gue, true) => (WAY_GUE4, IPV4 + GUE, IpProto::Udp),
        (Forwarding::Gue, false) => (WAY_GUE6, IPV6 + GUE, IpProto::Udp),
    };
    let (address, source) = (Address::from(dip), Address::from(way.source));
    let fixed = if dip.is_ipv4() { IPV4_WORDS } else { 0 };
    let sum =
        fixed + checksum::of_address(address) + checksum::of_address(source) + u64::from(protocol as u8);
    Instance {
        macs: macs(way.mac, ours.mac),
        way: kind,
        port,
        address,
        source,
        sum: checksum::fold(sum).into(),
        mtu: way.mtu.saturating_sub(overhead),
        ..entry
    }
}

/// In the order of the file: the first that is reached is the one that is used. A removed instance has its old order.
fn ways_to<'d>(desired: &'d Desired, name: &InstanceName) -> Vec<(IpAddr, &'d Way)> {
    // Not all of them for each: that would be a million comparisons with a thousand instances.
    let first = (name.clone(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let known = desired.ways.range(first..).take_while(|((of, _), _)| of == name);
    let mut ways: Vec<_> = known.map(|((_, dip), way)| (*dip, way)).collect();
    if ways.len() < 2 {
        return ways;
    }
    let order = desired.model.instance(&name.0).map_or(&[][..], |instance| &instance.dip);
    ways.sort_by_key(|(dip, _)| order.iter().position(|own| own == dip).unwrap_or(usize::MAX));
    ways
}

pub(super) fn macs(to: Mac, from: Mac) -> [u32; 3] {
    let mut bytes = [0; 12];
    bytes[..6].copy_from_slice(&to);
    bytes[6..].copy_from_slice(&from);
    [0, 4, 8].map(|i| u32::from_ne_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]))
}
