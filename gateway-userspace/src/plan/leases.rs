//! Whose flows leave by which ports of the public VIPs (R34), as the balancers' table.

use std::{collections::BTreeMap, net::IpAddr};

use gateway_ebpf::{
    layout::Vip,
    snat::layout::{PORT_BLOCKS, SNAT_VIPS},
};

use super::{Desired, PortBlock};
use crate::model::InstanceName;

/// By place of the VIP and block: the instance's number.
pub(super) type Leases = BTreeMap<(u8, PortBlock), u16>;

/// And the VIPs that have such ports say in which place they are. Who has no number any more has no ports.
pub(super) fn tables(
    desired: &Desired,
    numbers: &BTreeMap<InstanceName, u16>,
    vips: &mut BTreeMap<u32, Vip>,
) -> Leases {
    let mut leases = Leases::new();
    let known = |vip: &Vip| desired.leases.iter().find(|(address, _)| vip.address == (**address).into());
    let leased = vips.values_mut().filter_map(|vip| Some((known(vip)?.1, vip)));
    for (place, (blocks, vip)) in (0..SNAT_VIPS as u8).zip(leased) {
        vip.leases = place + 1;
        let owned = blocks.iter().filter_map(|(&block, name)| Some(((place, block), *numbers.get(name)?)));
        leases.extend(owned.filter(|((_, block), _)| usize::from(block.0) < PORT_BLOCKS));
    }
    leases
}

/// All ports of these VIPs are one instance's.
pub(super) fn all(outbound: &[IpAddr], number: u16, vips: &mut BTreeMap<u32, Vip>) -> Leases {
    let mut leases = Leases::new();
    let known = vips.values_mut().filter(|vip| outbound.iter().any(|&one| vip.address == one.into()));
    for (place, vip) in (0..SNAT_VIPS as u8).zip(known) {
        vip.leases = place + 1;
        leases.extend((1..PortBlock::COUNT).map(|block| ((place, PortBlock(block)), number)));
    }
    leases
}

pub(super) fn write(leases: &Leases, table: &mut [[u16; PORT_BLOCKS]; SNAT_VIPS]) {
    table.as_flattened_mut().fill(0);
    for (&(place, block), &number) in leases {
        table[usize::from(place)][usize::from(block.0)] = number;
    }
}

pub(super) fn read(table: &[[u16; PORT_BLOCKS]; SNAT_VIPS]) -> Leases {
    let places = (0..).zip(table).flat_map(|(place, blocks)| {
        (0..).zip(blocks).map(move |(block, &number)| ((place, PortBlock(block)), number))
    });
    places.filter(|(_, number)| *number != 0).collect()
}
