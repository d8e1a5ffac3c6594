//! What a balancer that is started again has to know to go on with the tables that it finds, beside those: saved with them.
//!
//! Fields may be added: a version that does not know one leaves it out, and one that misses it takes its default.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{leases::SavedLeases, ways::Hop};
use crate::{
    maglev,
    model::{AdminState, InstanceName, Model},
    plan::{Mac, Way},
    probe::watch::SavedHealth,
};

/// See above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    /// The number of the configuration in force.
    pub(super) generation: u64,
    /// [`digest`] of the configuration in force.
    pub(super) configuration: u64,
    /// [`super::reload::foundations`] of the configuration in force.
    pub(super) foundations: BTreeMap<String, String>,
    /// Admin states set at run time.
    pub(super) overrides: BTreeMap<InstanceName, AdminState>,
    /// Who is drained, and when that ends, by [`Clock`]; none if the clock cannot tell it.
    pub(super) draining: BTreeMap<InstanceName, Option<u64>>,
    /// Whose drain is over.
    pub(super) ended: BTreeSet<InstanceName>,
    /// What probes said of the instances.
    pub(super) health: BTreeMap<InstanceName, SavedHealth>,
    /// How instances are reached, drained ones too.
    pub(super) ways: Vec<Reached>,
    /// What each neighbour last resolved to, by its interface.
    pub(super) macs: Vec<(u32, IpAddr, Mac)>,
    /// Whose SNAT ports are whose.
    pub(super) leases: SavedLeases,
}

/// How an instance is reached by one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) instance: InstanceName,
    pub(super) dip: IpAddr,
    pub(super) hop: Hop,
    /// None where it was never resolved.
    pub(super) way: Option<Way>,
}

/// Tells whether a file is the one that was in force. Another version may find it different though it is not, which costs
/// nothing but a number.
pub(super) fn digest(model: &Model) -> u64 {
    maglev::hash(&[format!("{model:?}").as_bytes()])
}

/// Moments in nanoseconds since boot, which mean the same to the next process. Read once, so that the same moment always has
/// the same number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    here: Instant,
    boot: Duration,
}

impl Clock {
    /// Time that the machine slept is part of it: a drain does not wait for that.
    pub(super) fn read() -> nix::Result<Self> {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?.into();
        Ok(Self { here: Instant::now(), boot })
    }

    /// None beyond what a number can tell.
    pub(super) fn number(self, moment: Instant) -> Option<u64> {
        let since_boot = match moment.checked_duration_since(self.here) {
            Some(later) => self.boot.checked_add(later)?,
            None => self.boot.saturating_sub(self.here.duration_since(moment)),
        };
        u64::try_from(since_boot.as_nanos()).ok()
    }

    /// A moment that has been.
    pub(super) fn past(self, number: u64) -> Option<Instant> {
        self.here.checked_sub(self.boot.checked_sub(Duration::from_nanos(number))?)
    }

    /// What was over before this process began is over now.
    pub(super) fn moment(self, number: u64) -> Option<Instant> {
        self.here.checked_add(Duration::from_nanos(number).saturating_sub(self.boot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_the_same_number_whoever_reads_it() {
        let here = Instant::now();
        let clock = Clock { here, boot: Duration::from_secs(1_000) };
        let end = here + Duration::from_secs(60);
        let number = clock.number(end).unwrap();
        assert_eq!(number, 1_060_000_000_000);
        let next = Clock { here: here + Duration::from_secs(3), boot: Duration::from_secs(1_003) };
        assert_eq!((next.moment(number), next.number(end)), (Some(end), Some(number)));
        let late = Clock { here, boot: Duration::from_secs(2_000) };
        assert_eq!(late.moment(number), Some(here));
        let ago = here - Duration::from_secs(1);
        assert_eq!((late.number(ago), late.past(1_999_000_000_000)), (Some(1_999_000_000_000), Some(ago)));
    }

    #[test]
    fn what_an_older_version_did_not_save_has_its_default() {
        let saved: Saved = serde_json::from_str(r#"{"generation": 3, "of_a_newer_one": true}"#).unwrap();
        assert_eq!(saved, Saved { generation: 3, ..Saved::default() });
    }
}
