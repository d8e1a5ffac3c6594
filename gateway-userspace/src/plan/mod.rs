//! The kernel's tables as they should be, computed from what is wished, what is so and what runs. Pure.

mod block;
mod buckets;
mod numbers;
mod services;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use gateway_ebpf::layout::{
    Bucket, Config, Instance, Service, SourceSet, Vip, WAY_LINK, WAY_LOCAL, WAY_NONE,
};

pub use self::{block::Changes, services::Scope};
use crate::model::{AdminState, InstanceName, Model};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The one ring that all services share: they have the same instances and weights.
pub const RING: u32 = 0;

/// What the tables are made from.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The configuration.
    pub model: Arc<Model>,
    /// Where the program is attached.
    pub interface: Interface,
    /// The instances' MACs as far as they are known. An instance that was never resolved takes no buckets; one that was
    /// keeps its last MAC here.
    pub neighbours: BTreeMap<InstanceName, Mac>,
    /// The instance that runs on this very host: its packets go up the stack (`gateway run`).
    pub local: Option<InstanceName>,
    /// Instances, removed or `down`, whose drain is over: nothing is sent to them any more.
    pub ended: BTreeSet<InstanceName>,
    /// Random, of this node alone: nobody can aim at lines of its transition table.
    pub node_salt: u64,
}

/// The interface of the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Kernel's index.
    pub index: u32,
    /// Its own address.
    pub mac: Mac,
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
    /// By number.
    pub instances: BTreeMap<u16, Instance>,
    /// A word for each bucket of [`RING`].
    pub ring: Vec<Bucket>,
    /// Whose numbers these are; drained instances keep theirs until their drain is over.
    pub numbers: BTreeMap<InstanceName, u16>,
    /// What the counters' scopes are.
    pub scopes: BTreeMap<Scope, u16>,
    /// Numbers that no note may name any more.
    pub forget: BTreeSet<u16>,
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
    /// The running perfect hash cannot take another entry, and changing it could not be done between two packets.
    #[error(
        "the table of {what} has to be laid out anew, which cannot be done while it runs; restart `gateway balance`"
    )]
    Layout {
        /// Which table.
        what: &'static str,
    },
}

/// The next tables. `running` is what the kernel has: buckets that change owner remember their previous one.
///
/// # Errors
/// See [`Error`].
pub fn plan(desired: &Desired, running: Option<&Plan>) -> Result<Plan, Error> {
    let model = &desired.model;
    let numbers = instance_numbers(desired, running)?;
    let sources = sources::sets(model, running.map(|plan| &plan.sources))?;
    let services = services::tables(model, &sources, running)?;
    let owners = buckets::owners(desired, &numbers);
    let ended: BTreeSet<u16> = running.map_or_else(BTreeSet::new, |plan| {
        plan.numbers
            .iter()
            .filter(|(name, _)| !numbers.contains_key(name))
            .map(|(_, &number)| number)
            .collect()
    });
    let [a, b, c, d, e, f] = desired.interface.mac;
    Ok(Plan {
        config: Config {
            vip_multiplier: services.vip_multiplier,
            service_multiplier: services.service_multiplier,
            note_salt: desired.node_salt,
            mac: u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]),
        },
        vips: services.vips,
        services: services.services,
        sources: sources.sets,
        instances: numbers.iter().map(|(name, &number)| (number, way(desired, name))).collect(),
        ring: buckets::step(running.map(|plan| plan.ring.as_slice()), &owners, &ended),
        numbers,
        scopes: services.scopes,
        forget: ended,
    })
}

/// Every configured instance has a number, and every running one until its drain is over.
fn instance_numbers(desired: &Desired, running: Option<&Plan>) -> Result<BTreeMap<InstanceName, u16>, Error> {
    let none = BTreeMap::new();
    let before = running.map_or(&none, |plan| &plan.numbers);
    let configured = desired.model.instances.iter().map(|instance| &instance.name);
    let wanted = configured.chain(before.keys()).filter(|name| !desired.ended.contains(name)).cloned();
    numbers::keep(before, wanted, "instances", gateway_ebpf::layout::INSTANCES)
}

/// Takes new flows: configured, not `down`, and reachable.
fn takes_new_flows(desired: &Desired) -> impl Iterator<Item = &crate::model::Instance> {
    desired.model.instances.iter().filter(|instance| {
        instance.admin_state != AdminState::Down
            && !desired.ended.contains(&instance.name)
            && (desired.local.as_ref() == Some(&instance.name)
                || desired.neighbours.contains_key(&instance.name))
    })
}

fn way(desired: &Desired, name: &InstanceName) -> Instance {
    if desired.local.as_ref() == Some(name) {
        return Instance { macs: [0; 3], way: WAY_LOCAL };
    }
    let Some(to) = desired.neighbours.get(name) else { return Instance { macs: [0; 3], way: WAY_NONE } };
    let mut bytes = [0; 12];
    bytes[..6].copy_from_slice(to);
    bytes[6..].copy_from_slice(&desired.interface.mac);
    let word = |i: usize| u32::from_ne_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    Instance { macs: [word(0), word(4), word(8)], way: WAY_LINK }
}

/// The salt of a VIP's flows: the same on every balancer of a service.
fn vip_salt(seed: &str, address: IpAddr) -> u64 {
    crate::maglev::hash(&[seed.as_bytes(), b"vip", address.to_string().as_bytes()])
}

#[cfg(test)]
mod tests;
