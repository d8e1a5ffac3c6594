//! The kernel's tables as they should be, computed from what is wished, what is so and what runs. Pure.

mod block;
pub mod buckets;
mod close;
mod difference;
mod hops;
mod instance;
mod leases;
mod numbers;
mod outbound;
mod perfect;
mod replies;
mod served;
mod services;
mod sources;
pub mod translation;
mod ways;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use gateway_ebpf::{
    address::{self, Address},
    layout::{Bucket, Config, FLAG_HOPS, Hop, Instance, Reply, Service, SourceSet, Vip, Window},
};
use serde::{Deserialize, Serialize};

use self::buckets::Change;
pub(crate) use self::services::UDP;
pub use self::{
    block::{Changes, Names},
    close::Evidence,
    close::close,
    difference::{Action, Change as FileChange, Difference, Moved, Override, Restart, changes, moved},
    hops::hop_id,
    instance::{OnInstance, instance},
    outbound::outbound,
    served::Served,
    services::Scope,
    translation::{PortBlock, Translation},
};
pub use crate::model::Side;
use crate::model::{AdminState, Affinity, Forwarding, InstanceName, Model};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What the tables are made from.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The configuration.
    pub model: Arc<Model>,
    /// Where the program is attached; its place here is its place in the device map.
    pub interfaces: Vec<Interface>,
    /// How packets leave for each DIP, as far as that is known. An instance that was never resolved takes no buckets; one that
    /// was keeps its last way here.
    pub ways: BTreeMap<(InstanceName, IpAddr), Way>,
    /// The instance that runs on this very host: its packets go up the stack (`gateway run`).
    pub local: Option<InstanceName>,
    /// Instances, removed or `down`, whose drain is over: nothing is sent to them any more.
    pub ended: BTreeSet<InstanceName>,
    /// Instances at whose addresses nobody answers, and whose flows are to be reset (R82).
    pub gone: BTreeSet<InstanceName>,
    /// The weights of now, where they are not the file's: by probes, admin states set at run time, a slow start. 0: no new flows.
    pub shares: BTreeMap<InstanceName, u16>,
    /// By public VIP, the blocks of its ports by which instances' own flows leave (R34): answers to them go to that instance.
    pub leases: BTreeMap<IpAddr, BTreeMap<PortBlock, InstanceName>>,
    /// Random, of this node alone: nobody can aim at lines of its transition table.
    pub node_salt: u64,
    /// Unix seconds: what a change of the ring is stamped with.
    pub now: u32,
}

/// An interface of the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Kernel's index.
    pub index: u32,
    /// Its own address.
    pub mac: Mac,
    /// Who is there.
    pub side: Side,
}

/// How packets leave for an instance's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The interface's index.
    pub interface: u32,
    /// Of the next hop: the instance or a router.
    pub mac: Mac,
    /// The largest IP packet that gets there, in bytes.
    pub mtu: u16,
    /// Our address towards it: an outer header's source.
    pub source: IpAddr,
}

/// Tables as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The one entry.
    pub config: Config,
    /// By slot.
    pub vips: BTreeMap<u32, Vip>,
    /// By slot.
    pub services: BTreeMap<u32, Service>,
    /// By number; 0 is everyone and not in here.
    pub sources: BTreeMap<u16, SourceSet>,
    /// By slot.
    pub interfaces: BTreeMap<u32, gateway_ebpf::layout::Interface>,
    /// By slot: whose packets are looked at though they are not for a VIP: in nat mode the instances' on a balancer, with `ipip`
    /// and `gue` the balancers' on an instance.
    pub peers: BTreeMap<u32, Address>,
    /// By slot; nat mode.
    pub replies: BTreeMap<u32, Reply>,
    /// By slot: the other instances, on an instance.
    pub hops: BTreeMap<u32, Hop>,
    /// By number: for packets over IPv4, over IPv6.
    pub instances: BTreeMap<u16, [Instance; 2]>,
    /// By bucket.
    pub ring: Vec<Bucket>,
    /// By bucket: all owners since its window opened.
    pub windows: Vec<Window>,
    /// By place ([`Vip::leases`] less one) and block of ports: whose flows leave by it.
    pub leases: BTreeMap<(u8, PortBlock), u16>,
    /// Whose numbers these are; drained instances keep theirs until their drain is over.
    pub numbers: BTreeMap<InstanceName, u16>,
    /// What the counters' scopes are.
    pub scopes: BTreeMap<Scope, u16>,
    /// Numbers that no note may name any more.
    pub forget: BTreeSet<u16>,
    /// Buckets whose windows closed in this step: their notes mean nothing in the next one.
    pub closed: BTreeSet<u32>,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Numbers of the kernel's tables ran out.
    #[error("{what}: all {limit} numbers are in use; restart `gateway balance` to begin anew")]
    NoNumber {
        /// Of what.
        what: &'static str,
        /// How many there are.
        limit: u32,
    },
    /// A list of prefixes that comes to too many separate ranges.
    #[error(
        "a list of source networks has more than {limit} separate ranges of one family; merge neighbouring prefixes"
    )]
    Prefixes {
        /// How many fit.
        limit: usize,
    },
    /// Two names come to the same [`hop_id`].
    #[error("the instances {one:?} and {other:?} cannot be told apart in a list of hops: rename one of them")]
    HopId {
        /// A name.
        one: InstanceName,
        /// Another.
        other: InstanceName,
    },
}

/// The next tables. `running` is what the kernel has: buckets that change owner remember their previous one.
///
/// # Errors
/// See [`Error`].
pub fn plan(desired: &Desired, running: Option<&Plan>) -> Result<Plan, Error> {
    let model = &desired.model;
    let numbers = instance_numbers(desired, running)?;
    let sources = sources::sets(model)?;
    let mut services = services::tables(model, &sources, &[], running)?;
    let leases = leases::tables(desired, &numbers, &mut services.vips);
    let replies = replies::tables(desired, &numbers, &services.scopes, running)?;
    let owners = buckets::owners(desired, &numbers);
    let ended: BTreeSet<u16> = running.map_or_else(BTreeSet::new, |plan| {
        plan.numbers
            .iter()
            .filter(|(name, _)| !numbers.contains_key(name))
            .map(|(_, &number)| number)
            .collect()
    });
    let (interface_multiplier, interfaces) =
        ways::interfaces(&desired.interfaces, running.map(|plan| plan.config.interface_multiplier))?;
    hops::check(&model.balancer.seed, numbers.keys())?;
    let gone = desired.gone.iter().filter_map(|name| numbers.get(name).copied()).collect();
    let (affinity, affinity_before) =
        affinities(affinity_mask(model.balancer.affinity), running.map(|plan| &plan.config));
    let (ring, windows) = buckets::step(
        running.map(|plan| (plan.ring.as_slice(), plan.windows.as_slice())),
        &owners,
        Change { ended: &ended, gone: &gone, switched: affinity != affinity_before },
    );
    Ok(Plan {
        config: Config {
            vip_multiplier: services.vip_multiplier,
            service_multiplier: services.service_multiplier,
            peer_multiplier: replies.peer_multiplier,
            reply_multiplier: replies.reply_multiplier,
            interface_multiplier,
            generation: generation(running, &ring, desired.now),
            note_salt: desired.node_salt,
            affinity,
            affinity_before,
            flags: replies.flags | if model.balancer.forwarding == Forwarding::Gue { FLAG_HOPS } else { 0 },
            one: 1,
            ..Config::default()
        },
        vips: services.vips,
        services: services.services,
        sources: sources.sets,
        interfaces,
        peers: replies.peers,
        replies: replies.replies,
        hops: BTreeMap::new(),
        instances: numbers.iter().map(|(name, &number)| (number, ways::entries(desired, name))).collect(),
        ring,
        windows,
        leases,
        numbers,
        scopes: services.scopes,
        forget: ended,
        closed: BTreeSet::new(),
    })
}

/// The time of the ring's last change; it never goes back, whatever the clock does.
fn generation(running: Option<&Plan>, ring: &[Bucket], now: u32) -> u32 {
    match running {
        None => now,
        Some(plan) if plan.ring == ring => plan.config.generation,
        Some(plan) => now.max(plan.config.generation.wrapping_add(1)),
    }
}

/// The mask by which flows begin, and the one by which those began that are not noted. A switch is a window of its own, and
/// one at a time: another wish waits until it is [closed](fn@close).
fn affinities(wanted: u64, running: Option<&Config>) -> (u64, u64) {
    match running {
        None => (wanted, wanted),
        Some(config) if config.affinity != config.affinity_before => {
            (config.affinity, config.affinity_before)
        }
        Some(config) => (wanted, config.affinity),
    }
}

fn affinity_mask(affinity: Affinity) -> u64 {
    match affinity {
        Affinity::FiveTuple => address::FIVE_TUPLE,
        Affinity::ThreeTuple => address::THREE_TUPLE,
        Affinity::SourceAddress => address::SOURCE_ADDRESS,
    }
}

/// Every configured instance has a number, and every running one until its drain is over.
fn instance_numbers(desired: &Desired, running: Option<&Plan>) -> Result<BTreeMap<InstanceName, u16>, Error> {
    let none = BTreeMap::new();
    let before = running.map_or(&none, |plan| &plan.numbers);
    let configured = desired.model.instances.iter().map(|instance| &instance.name);
    let wanted = configured.chain(before.keys()).filter(|name| !desired.ended.contains(name)).cloned();
    numbers::keep(before, wanted, "instances", gateway_ebpf::layout::INSTANCES)
}

/// Who takes new flows, and how many against the others: configured, with a share, not gone, and reachable.
fn takers(desired: &Desired) -> impl Iterator<Item = (&crate::model::Instance, u16)> {
    let share = |instance: &crate::model::Instance| match instance.admin_state {
        AdminState::Down => 0,
        AdminState::Up | AdminState::Auto => instance.weight,
    };
    let instances = desired.model.instances.iter().filter(|instance| {
        !desired.ended.contains(&instance.name)
            && !desired.gone.contains(&instance.name)
            && (desired.local.as_ref() == Some(&instance.name) || ways::is_reached(desired, instance))
    });
    instances
        .map(move |one| (one, desired.shares.get(&one.name).copied().unwrap_or_else(|| share(one))))
        .filter(|(_, share)| *share > 0)
}

/// The salt of a VIP's flows: the same on every balancer of a service.
fn vip_salt(seed: &str, address: IpAddr) -> u64 {
    crate::maglev::hash(&[seed.as_bytes(), b"vip", address.to_string().as_bytes()])
}

#[cfg(test)]
mod tests;
