//! How many connections there are, in all and by source.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts a worker's open connections.
#[derive(Debug)]
pub struct Sources {
    open: Mutex<Open>,
    most: usize,
    most_per_source: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One connection's place. Dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    sources: Arc<Sources>,
    /// Once it is known.
    source: Option<IpAddr>,
}

impl Sources {
    /// Places for `most` connections, and for `most_per_source` of one source.
    pub fn new(most: usize, most_per_source: usize) -> Self {
        Self { open: Mutex::default(), most, most_per_source }
    }

    /// A place for a connection from `peer`, if there is one.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        let source = source(peer);
        if open.all >= self.most || !open.count(source, self.most_per_source) {
            return None;
        }
        open.all += 1;
        Some(Place { sources: Arc::clone(self), source: Some(source) })
    }

    /// A place for a connection of which it is not known yet whose it is.
    pub fn enter_unnamed(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.lock();
        if open.all >= self.most {
            return None;
        }
        open.all += 1;
        Some(Place { sources: Arc::clone(self), source: None })
    }

    /// How many places are taken.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// One more of a source, unless that has as many as it may.
    fn count(&mut self, source: IpAddr, most: usize) -> bool {
        let of_source = self.by_source.entry(source).or_default();
        let free = *of_source < most;
        *of_source += usize::from(free);
        free
    }
}

impl Place {
    /// It is `peer`'s, if that may have one more.
    pub fn name(mut self, peer: IpAddr) -> Option<Self> {
        let source = source(peer);
        let named = self.sources.lock().count(source, self.sources.most_per_source);
        self.source = named.then_some(source);
        named.then_some(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sources.lock();
        open.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(count) = open.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&source);
            }
        }
    }
}

/// A site gets an IPv6 /64 at least, so one host may have any address in it.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_run_out_by_source_and_in_all_and_come_back() {
        let sources = Arc::new(Sources::new(3, 2));
        let first = sources.enter(ip("192.0.2.1"));
        let _second = sources.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some());
        assert!(sources.enter(ip("192.0.2.1")).is_none(), "a third of one source");
        let _third = sources.enter(ip("2001:db8::1"));
        assert!(sources.enter(ip("192.0.2.9")).is_none(), "a fourth in all");
        drop(first);
        assert!(sources.enter(ip("192.0.2.1")).is_some());
        assert_eq!(source(ip("2001:db8::1")), source(ip("2001:db8::ffff:1")));
    }

    #[test]
    fn whose_a_place_is_may_be_known_later() {
        let sources = Arc::new(Sources::new(2, 1));
        let unnamed = sources.enter_unnamed().unwrap();
        let _other = sources.enter(ip("192.0.2.1")).unwrap();
        assert!(sources.enter_unnamed().is_none(), "it counts in all");
        assert!(unnamed.name(ip("192.0.2.1")).is_none(), "a second of one source");
        assert_eq!(sources.open(), 1);
        let named = sources.enter_unnamed().unwrap().name(ip("192.0.2.2")).unwrap();
        assert_eq!(sources.open(), 2);
        drop(named);
        assert_eq!((sources.open(), sources.lock().by_source.len()), (1, 1));
    }
}
