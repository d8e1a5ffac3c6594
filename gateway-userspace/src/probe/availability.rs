//! How often connections through the VIP to an instance come about (R84): the data path's availability, measured in band. Pure.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{Asked, Failure};
use crate::model::InstanceName;

/// Attempts that [`Path::recent`] is of, at most.
const RECENT: u32 = 64;

/// By instance, and VIP and port.
#[derive(Debug, Clone, Default)]
pub struct Availability(BTreeMap<InstanceName, BTreeMap<SocketAddr, Path>>);

/// An instance by one VIP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    /// Connections tried.
    pub tried: u64,
    /// Those that came about.
    pub answered: u64,
    /// Why the last one that did not come about did not.
    pub last_error: Option<String>,
    /// How long the last one that came about took.
    pub took: Option<Duration>,
    /// The last attempts, the latest in the lowest bit: 1 came about.
    history: u64,
}

impl Path {
    /// The share of the last attempts, 64 at most, that came about, from 0 to 1. None before the first one.
    pub fn recent(&self) -> Option<f64> {
        let of = u32::try_from(self.tried).unwrap_or(RECENT).min(RECENT);
        (of > 0).then(|| f64::from(self.history.count_ones()) / f64::from(of))
    }

    fn note(&mut self, outcome: &Result<(), Failure>, took: Duration) {
        self.tried += 1;
        self.history <<= 1;
        match outcome {
            Ok(()) => {
                self.answered += 1;
                self.history |= 1;
                self.took = Some(took);
            }
            Err(failure) => self.last_error = Some(failure.to_string()),
        }
    }
}

impl Availability {
    /// Takes up what came of asking an instance at VIPs.
    pub fn note(&mut self, instance: &InstanceName, asked: &[Asked]) {
        for Asked { address, outcome, took } in asked {
            // What this host could not try says nothing of the way.
            if outcome.as_ref().is_err_and(|failure| failure.presence().is_none()) {
                continue;
            }
            self.0.entry(instance.clone()).or_default().entry(*address).or_default().note(outcome, *took);
        }
    }

    /// Forgets whoever is not asked for any more.
    pub fn keep(&mut self, wanted: impl Fn(&InstanceName, SocketAddr) -> bool) {
        for (instance, paths) in &mut self.0 {
            paths.retain(|vip, _| wanted(instance, *vip));
        }
        self.0.retain(|_, paths| !paths.is_empty());
    }

    /// An instance's paths, by VIP and port; none where none was tried.
    pub fn of(&self, instance: &InstanceName) -> Option<&BTreeMap<SocketAddr, Path>> {
        self.0.get(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    fn asked(vip: &str, outcome: Result<(), Failure>) -> Asked {
        Asked { address: vip.parse().unwrap(), outcome, took: TOOK }
    }

    #[test]
    fn r84_each_vip_of_an_instance_is_counted_by_itself() {
        let (one, vip) = (InstanceName("gw-1".into()), "10.0.0.5:443");
        let mut availability = Availability::default();
        assert_eq!(availability.of(&one), None);
        for _ in 0..3 {
            availability.note(&one, &[asked(vip, Ok(())), asked("[fd00::5]:443", Err(Failure::Refused))]);
        }
        availability.note(&one, &[asked(vip, Err(Failure::Own("too many open files".into())))]);
        let paths = availability.of(&one).unwrap();
        let [v4, v6] = [vip, "[fd00::5]:443"].map(|vip| &paths[&vip.parse().unwrap()]);
        assert_eq!((v4.tried, v4.answered, v4.recent(), v4.took), (3, 3, Some(1.0), Some(TOOK)));
        assert_eq!((v6.tried, v6.answered, v6.recent(), v6.took), (3, 0, Some(0.0), None));
        assert_eq!((&v4.last_error, v6.last_error.as_deref()), (&None, Some("connection refused")));
        availability.keep(|_, address| address.is_ipv4());
        assert_eq!(availability.of(&one).unwrap().len(), 1);
        availability.keep(|_, _| false);
        assert_eq!(availability.of(&one), None);
    }

    #[test]
    fn r84_the_share_is_of_the_last_attempts() {
        let mut path = Path::default();
        assert_eq!(path.recent(), None);
        for _ in 0..100 {
            path.note(&Err(Failure::Refused), TOOK);
        }
        for _ in 0..16 {
            path.note(&Ok(()), TOOK);
        }
        assert_eq!((path.recent(), path.tried, path.answered), (Some(0.25), 116, 16));
    }
}
