//! Fixed tables for the fuzzer: two VIPs of each family, two instances, and whatever way to them an input asks for.

use std::{cell::RefCell, collections::BTreeMap, sync::OnceLock};

use gateway_ebpf::{
    address::{self, Address},
    host::{Counters, HostTables},
    layout::{
        self, Block, Bucket, Instance, Interface, SIDE_INSIDE, SIDE_OUTSIDE, Service, Traffic, VIP_FRAGMENTS,
        Vip, WAY_GUE4, WAY_GUE6, WAY_IPIP4, WAY_IPIP6, WAY_LINK, WAY_LOCAL,
    },
    note::Settled,
    reason::Reason,
    tables::{Answered, NoteLine, Route, Tables},
    word::Word,
};

pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The MACs of the way to instance 1 and 2 end in their number.
pub(crate) const INSTANCE: [u8; 5] = [2, 0, 0, 0, 1];
const TCP: u8 = 6;

/// What an input's first byte chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) way: u16,
    is_moved: bool,
    /// 1 is for everyone, 2 leads outside, 3 is none of ours.
    pub(crate) interface: u32,
}

impl Choice {
    pub(crate) fn new(byte: u8) -> Self {
        const WAYS: [u16; 8] =
            [WAY_LINK, WAY_LINK, WAY_LOCAL, WAY_IPIP4, WAY_IPIP6, WAY_GUE4, WAY_GUE6, WAY_GUE6];
        let interface = if byte >> 4 < 12 { 1 } else { u32::from(byte >> 4 & 1) + 2 };
        Self { way: WAYS[usize::from(byte & 7)], is_moved: byte & 8 != 0, interface }
    }
}

/// Tables in which all notes share a line, so that every input begins with none, and they meet.
pub(crate) struct World {
    block: &'static Block,
    notes: NoteLine,
    fragments: NoteLine,
    interface: u32,
    pub(crate) counters: RefCell<Counters>,
}

impl World {
    pub(crate) fn new(choice: Choice) -> Self {
        static BLOCKS: [[OnceLock<Box<Block>>; 2]; 8] = [const { [const { OnceLock::new() }; 2] }; 8];
        let block =
            BLOCKS[usize::from(choice.way)][usize::from(choice.is_moved)].get_or_init(|| block(choice));
        Self {
            block,
            notes: NoteLine::default(),
            fragments: NoteLine::default(),
            interface: choice.interface,
            counters: RefCell::default(),
        }
    }
}

impl Tables for World {
    fn block(&self) -> Option<&Block> {
        Some(self.block)
    }

    fn notes(&self, _: u32) -> Option<&NoteLine> {
        Some(&self.notes)
    }

    fn fragments(&self, _: u32) -> Option<&NoteLine> {
        Some(&self.fragments)
    }

    /// No answers: what is dropped stays as it is.
    fn allowance(&self, _: u32) -> Option<&Word> {
        None
    }

    fn now(&self) -> u64 {
        1 << 40
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn route(&self, _: Address, _: Address, _: u8, _: u16) -> Route {
        Route::Unknown
    }

    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        let mut counters = self.counters.borrow_mut();
        let Counters { services, instances, .. } = &mut *counters;
        for traffic in [services.entry(scope).or_default(), instances.entry(instance).or_default()] {
            *traffic = Traffic {
                packets: traffic.packets + 1,
                bytes: traffic.bytes + bytes,
                syns: traffic.syns + syn,
            };
        }
    }

    fn count_drop(&self, scope: u16, reason: Reason) {
        *self.counters.borrow_mut().drops.entry((scope, reason)).or_default() += 1;
    }

    fn count_answer(&self, answered: Answered) {
        *self.counters.borrow_mut().answers.entry(answered).or_default() += 1;
    }

    /// Not compared: a packet that is steered, and then left to the slow program because it has an answer, is steered twice.
    fn count_settled(&self, _: Settled) {}
}

fn block(choice: Choice) -> Box<Block> {
    let mut block = HostTables::default().block;
    let inside = 1;
    let v4 = |number: u32| Address::v4(number);
    let vip = |address, scope, is_private: bool| Vip {
        address,
        salt: address::mix(u64::from(scope)),
        scope,
        sources: if is_private { inside } else { 0 },
        sides: if is_private { SIDE_INSIDE } else { SIDE_INSIDE | SIDE_OUTSIDE },
        flags: if is_private { VIP_FRAGMENTS } else { 0 },
        leases: 0,
    };
    let vips = [
        vip(v4(0x0a00_0005), 1, true),
        vip(Address::v6(0xfd00_0000_0000_0001, 5), 2, true),
        vip(v4(0xcb00_7105), 3, false),
        vip(Address::v6(0x2001_0db8_0000_0000, 5), 4, false),
    ];
    let ports = [(1, 443), (1, 80), (1, 3443), (2, 443), (2, 80), (2, 3443), (3, 3443), (4, 3443)];
    let services = (5..).zip(ports).map(|(scope, (of, port))| Service {
        key: Service::key(of, TCP, port),
        scope,
        ..Service::default()
    });
    let services: Vec<_> = services.collect();
    let interfaces = [(1, SIDE_INSIDE | SIDE_OUTSIDE), (2, SIDE_OUTSIDE)].map(|(index, sides)| Interface {
        index,
        mac: u32::from_le_bytes([2, 0, 0, 0]),
        mac_rest: u16::from_le_bytes([0, 1]),
        sides,
        ..Interface::default()
    });

    let config = &mut block.config;
    (config.one, config.affinity, config.affinity_before, config.note_salt) = (1, u64::MAX, u64::MAX, 77);
    config.vip_multiplier = perfect(vips.map(|vip| vip.address), Address::slot);
    config.service_multiplier = perfect(services.iter().map(|service| service.key), layout::slot);
    let indices = interfaces.map(|interface| interface.index);
    config.interface_multiplier =
        (perfect(indices, |i, m| Interface::slot(i, (m >> 32) as u32)) >> 32) as u32;
    let (vip_multiplier, service_multiplier, interface_multiplier) =
        (config.vip_multiplier, config.service_multiplier, config.interface_multiplier);
    for vip in vips {
        block.vips[vip.address.slot(vip_multiplier) as usize] = vip;
    }
    for service in services {
        block.services[layout::slot(service.key, service_multiplier) as usize] = service;
    }
    for interface in interfaces {
        block.interfaces[Interface::slot(interface.index, interface_multiplier) as usize] = interface;
    }

    // 10.0.0.0/16 and fd00:0:0:1::/64.
    let set = &mut block.sources[usize::from(inside)];
    (set.v4_half, set.v6_half) = (2, 2);
    (set.v4[0], set.v4[1]) = (0x0a00_0000, 0x0a01_0000);
    (set.v6_hi[0], set.v6_lo[0]) = (0xfd00_0000_0000_0001, 0);
    (set.v6_hi[1], set.v6_lo[1]) = (0xfd00_0000_0000_0002, 0);
    set.v4[2..].fill(u64::MAX);
    set.v6_hi[2..].fill(u64::MAX);
    set.v6_lo[2..].fill(u64::MAX);

    for number in 1..=2u8 {
        let [a, b, c] = [[2, 0, 0, 0], [1, number, 2, 0], [0, 0, 0, 1]].map(u32::from_le_bytes);
        let over_v6 = matches!(choice.way, WAY_IPIP6 | WAY_GUE6);
        let address =
            |last| if over_v6 { Address::v6(0xfd00 << 48, last) } else { v4(0x0a00_0000 | last as u32) };
        let (source, address) = (address(2), address(10 + u64::from(number)));
        // RFC 791: version and length, DF, hops.
        let fixed = if over_v6 { 0 } else { 0x4500 + 0x4000 + (64 << 8) };
        let is_gue = matches!(choice.way, WAY_GUE4 | WAY_GUE6);
        block.instances[usize::from(number)] = [4, 41].map(|carried| Instance {
            macs: [a, b, c],
            way: choice.way,
            address,
            source,
            sum: fixed + words(address) + words(source) + if is_gue { 17 } else { carried },
            mtu: u16::MAX,
            id: number.into(),
            ..Instance::default()
        });
    }
    for (place, number) in block.ring.iter_mut().zip((1..=2).cycle()) {
        *place =
            if choice.is_moved { Bucket::moved(number, 3 - number).0 } else { Bucket::settled(number).0 };
    }
    block
}

/// The sum of an address's 16-bit words.
fn words(address: Address) -> u32 {
    let hi = if address.hi == address::V4 { 0 } else { address.hi };
    [hi, address.lo].iter().flat_map(|half| [0, 16, 32, 48].map(|bit| (half >> bit) as u32 & 0xffff)).sum()
}

/// A multiplier under which no two keys share a slot.
fn perfect<K: Copy>(keys: impl IntoIterator<Item = K>, slot: impl Fn(K, u64) -> u32) -> u64 {
    let keys: Vec<K> = keys.into_iter().collect();
    let candidates = (0..).map(|n: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * n + 1));
    candidates
        .into_iter()
        .find(|&multiplier| {
            let slots: BTreeMap<u32, ()> = keys.iter().map(|&key| (slot(key, multiplier), ())).collect();
            slots.len() == keys.len()
        })
        .unwrap_or_default()
}
