//! The traits over plain memory: for tests.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use super::{
    layout::{Count, Entry, FLOWS, FRAGMENT_LINES, Key, Table},
    map::{Flows, Refused, Sums, Way},
};
use crate::{checksum, frame::Frame as _, parse::IpHeader, reason::Reason, tables::NoteLine, word::Word};

/// Both maps, the table and what was counted.
#[derive(Debug)]
pub struct HostFlows {
    /// What the control plane decided.
    pub table: Box<Table>,
    /// What [`Flows::now`] tells.
    pub now: u64,
    /// Counters that are not zero.
    pub counts: RefCell<BTreeMap<Count, u64>>,
    /// By reason.
    pub drops: RefCell<BTreeMap<Reason, u64>>,
    /// Destinations without a port: how often, and when last.
    pub exhausted: RefCell<BTreeMap<Key, (u64, u32)>>,
    random: Cell<u32>,
    fragments: Vec<NoteLine>,
    /// All entries of both maps; a place is used again once its entry is taken out, as in the kernel.
    words: Vec<Word>,
    forward: RefCell<BTreeMap<Key, usize>>,
    reverse: RefCell<BTreeMap<Key, usize>>,
    free: RefCell<Vec<usize>>,
}

impl Default for HostFlows {
    fn default() -> Self {
        let places = FLOWS as usize;
        Self {
            // SAFETY: integers only, all zero as in a new map; too large to be made on the stack.
            table: unsafe { Box::new_zeroed().assume_init() },
            now: 0,
            counts: RefCell::default(),
            drops: RefCell::default(),
            exhausted: RefCell::default(),
            random: Cell::new(1),
            fragments: std::iter::repeat_with(NoteLine::default).take(FRAGMENT_LINES as usize).collect(),
            words: std::iter::repeat_with(Word::default).take(places).collect(),
            forward: RefCell::default(),
            reverse: RefCell::default(),
            free: RefCell::new((0..places).rev().collect()),
        }
    }
}

impl HostFlows {
    /// All entries of a map.
    pub fn all(&self, way: Way) -> Vec<(Key, Entry)> {
        let map = self.map(way).borrow();
        map.iter().map(|(&key, &place)| (key, Entry(self.words[place].load()))).collect()
    }

    const fn map(&self, way: Way) -> &RefCell<BTreeMap<Key, usize>> {
        match way {
            Way::Forward => &self.forward,
            Way::Reverse => &self.reverse,
        }
    }
}

impl Flows for HostFlows {
    fn table(&self) -> Option<&Table> {
        Some(&self.table)
    }

    fn get(&self, way: Way, key: Key) -> Option<&Word> {
        self.words.get(*self.map(way).borrow().get(&key)?)
    }

    fn insert(&self, way: Way, key: Key, entry: Entry) -> Result<(), Refused> {
        let mut map = self.map(way).borrow_mut();
        if map.contains_key(&key) {
            return Err(Refused::Taken);
        }
        let place = self.free.borrow_mut().pop().ok_or(Refused::Full)?;
        self.words[place].store(entry.0);
        map.insert(key, place);
        Ok(())
    }

    fn remove(&self, way: Way, key: Key) {
        if let Some(place) = self.map(way).borrow_mut().remove(&key) {
            self.free.borrow_mut().push(place);
        }
    }

    fn fragments(&self, line: u32) -> Option<&NoteLine> {
        self.fragments.get(line as usize)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn random(&self) -> u32 {
        let next = self.random.get().wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
        self.random.set(next);
        next ^ next >> 15
    }

    fn count(&self, count: Count, more: u64) {
        *self.counts.borrow_mut().entry(count).or_default() += more;
    }

    fn count_drop(&self, reason: Reason) {
        *self.drops.borrow_mut().entry(reason).or_default() += 1;
    }

    fn is_exhausted(&self, destination: Key, now: u32) -> bool {
        self.exhausted.borrow().get(&destination).is_some_and(|(_, last)| *last == now)
    }

    fn exhausted(&self, destination: Key, now: u32) {
        let mut exhausted = self.exhausted.borrow_mut();
        let (count, last) = exhausted.entry(destination).or_default();
        (*count, *last) = (*count + 1, now);
    }
}

impl Sums for Vec<u8> {
    fn forget(&mut self) {}

    fn change_sum<H: IpHeader>(&mut self, offset: usize, protocol: u8, pseudo: u64, own: u64) -> Option<()> {
        const UDP: u8 = network_types::ip::IpProto::Udp as u8;
        let before = u16::from_be(self.read::<u16>(offset)?);
        // RFC 768: zero is no checksum, and a checksum of zero is sent as its other form.
        if protocol == UDP && before == 0 {
            return Some(());
        }
        let after = match checksum::adjust(before, pseudo + own) {
            0 if protocol == UDP => 0xffff,
            after => after,
        };
        self.write(offset, after.to_be())
    }
}
