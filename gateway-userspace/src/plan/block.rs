//! The plan as the kernel's tables, and back: the same for the map's memory and for the host's.

use std::collections::{BTreeMap, BTreeSet};

use gateway_ebpf::{
    host::HostTables,
    layout::{Block, Bucket},
};
use serde::{Deserialize, Serialize};

use super::{Plan, Scope, leases};
use crate::model::InstanceName;

/// In what tables differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Buckets.
    pub buckets: usize,
    /// All other table entries.
    pub entries: usize,
}

impl Changes {
    /// What is other in `after` than it was in `before`.
    pub fn between(before: &Block, after: &Block) -> Self {
        let entries = usize::from(before.config != after.config)
            + differing(&before.interfaces, &after.interfaces)
            + differing(&before.vips, &after.vips)
            + differing(&before.services, &after.services)
            + differing(&before.instances, &after.instances)
            + differing(&before.peers, &after.peers)
            + differing(&before.replies, &after.replies)
            + differing(&before.hops, &after.hops)
            + differing(&before.sources, &after.sources)
            + differing(&before.windows, &after.windows)
            + differing(before.leases.as_flattened(), after.leases.as_flattened());
        Self { buckets: differing(&before.ring, &after.ring), entries }
    }
}

fn differing<T: PartialEq>(before: &[T], after: &[T]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// What tables do not hold of a plan: whose their numbers are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// See [`Plan::numbers`].
    pub numbers: BTreeMap<InstanceName, u16>,
    /// See [`Plan::scopes`].
    pub scopes: BTreeMap<Scope, u16>,
    /// See [`Plan::forget`].
    pub forget: BTreeSet<u16>,
    /// See [`Plan::closed`].
    pub closed: BTreeSet<u32>,
}

impl Plan {
    /// Makes `block` what the plan says, all but what user space keeps there for itself. No packet goes by it meanwhile.
    pub fn write(&self, block: &mut Block) {
        block.config = self.config;
        fill(&mut block.interfaces, &self.interfaces);
        fill(&mut block.vips, &self.vips);
        fill(&mut block.services, &self.services);
        fill(&mut block.peers, &self.peers);
        fill(&mut block.replies, &self.replies);
        fill(&mut block.hops, &self.hops);
        fill(&mut block.sources, &self.sources);
        fill(&mut block.instances, &self.instances);
        for (place, bucket) in block.ring.iter_mut().zip(&self.ring) {
            *place = bucket.0;
        }
        for (place, &window) in block.windows.iter_mut().zip(&self.windows) {
            *place = window;
        }
        leases::write(&self.leases, &mut block.leases);
    }

    /// What [`Self::write`] was given, but for the names, which tables do not have.
    pub fn read(block: &Block, names: Names) -> Self {
        let Names { numbers, scopes, forget, closed } = names;
        // One word more than there are buckets.
        let buckets = block.ring.len() - 1;
        Self {
            config: block.config,
            vips: filled(&block.vips),
            services: filled(&block.services),
            sources: filled(&block.sources),
            interfaces: filled(&block.interfaces),
            peers: filled(&block.peers),
            replies: filled(&block.replies),
            hops: filled(&block.hops),
            instances: filled(&block.instances),
            ring: block.ring[..buckets].iter().map(|&word| Bucket(word)).collect(),
            windows: block.windows[..buckets].to_vec(),
            leases: leases::read(&block.leases),
            numbers,
            scopes,
            forget,
            closed,
        }
    }

    /// The counterpart of [`Self::read`].
    pub fn names(&self) -> Names {
        Names {
            numbers: self.numbers.clone(),
            scopes: self.scopes.clone(),
            forget: self.forget.clone(),
            closed: self.closed.clone(),
        }
    }
}

/// A whole table: places that the plan does not name are empty.
fn fill<K: Copy + Into<u32>, T: Copy + Default>(table: &mut [T], entries: &BTreeMap<K, T>) {
    table.fill(T::default());
    for (&place, &entry) in entries {
        table[place.into() as usize] = entry;
    }
}

/// The places that are not empty. All tables are smaller than a `u16` counts.
fn filled<K: From<u16> + Ord, T: Copy + PartialEq + Default>(table: &[T]) -> BTreeMap<K, T> {
    let entries = (0u16..).zip(table).filter(|(_, entry)| **entry != T::default());
    entries.map(|(place, &entry)| (place.into(), entry)).collect()
}

impl From<&Plan> for HostTables {
    fn from(plan: &Plan) -> Self {
        let mut tables = Self::default();
        plan.write(&mut tables.block);
        tables.interface =
            plan.interfaces.values().map(|interface| interface.index).next().unwrap_or_default();
        tables
    }
}
