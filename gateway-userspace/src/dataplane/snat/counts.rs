//! What the programs counted.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use aya::maps::{HashMap, MapData, PerCpuArray};
use gateway_ebpf::{
    reason::Reason,
    snat::layout::{Count, Entry, Key},
};

use crate::{
    dataplane::Error,
    plan::translation::{self, Protocol},
};

/// What was counted since the programs were loaded first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<Count, u64>,
    /// Reasons that occurred.
    pub drops: BTreeMap<Reason, u64>,
}

impl Counts {
    /// How often.
    pub fn get(&self, count: Count) -> u64 {
        self.counts.get(&count).copied().unwrap_or_default()
    }

    /// Flows that did not begin because there was no port, no lease, or no room.
    pub fn failed(&self) -> u64 {
        self.failures().map(|(_, count)| count).sum()
    }

    /// The same, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (Reason, u64)> {
        let failures = [Reason::SnatPort, Reason::SnatLease, Reason::SnatFull];
        failures.into_iter().filter_map(|reason| Some((reason, *self.drops.get(&reason)?)))
    }

    pub(super) fn read(
        counts: &PerCpuArray<MapData, u64>,
        drops: &PerCpuArray<MapData, u64>,
    ) -> Result<Self, Error> {
        let mut read = Self::default();
        for count in Count::ALL {
            let values = counts.get(&(count as u32), 0).map_err(Error::map("SNAT_COUNTS"))?;
            read.counts.insert(count, values.iter().sum());
        }
        for &reason in Reason::ALL {
            let values = drops.get(&(reason as u32), 0).map_err(Error::map("SNAT_DROPS"))?;
            read.drops.insert(reason, values.iter().sum());
        }
        read.drops.retain(|_, count| *count > 0);
        Ok(read)
    }
}

/// A destination for which there was no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Of what.
    pub protocol: Protocol,
    /// Where to; the port is 0 for pings.
    pub destination: SocketAddr,
    /// How many packets were dropped for it.
    pub drops: u32,
    /// How long ago the last one was, to a second or so.
    pub ago: Duration,
}

impl Exhausted {
    pub(super) fn read(map: &HashMap<MapData, Key, u64>, now: u32) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for entry in map {
            let (key, value) = entry.map_err(Error::map("SNAT_EXHAUSTED"))?;
            let Some(protocol) = Protocol::of(key.protocol()) else { continue };
            all.push(Self {
                protocol,
                destination: SocketAddr::new(translation::address(key.peer), key.peer_port()),
                drops: value as u32,
                ago: Duration::from_nanos(u64::from(Entry(value).idle(now)) << 30),
            });
        }
        all.sort_by_key(|one| (one.ago, one.destination));
        Ok(all)
    }
}
