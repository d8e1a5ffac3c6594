//! The pipeline's two traits over plain memory: for tests, fuzzing and `gateway explain`.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    address::Address,
    frame::{Frame, Pod},
    layout::{
        Bucket, Config, INSTANCES, Instance, NOTE_LINES, RING_WORDS, RINGS, SLOTS, SOURCE_SETS, Service,
        SourceSet, Traffic, Vip,
    },
    reason::Reason,
    tables::{NoteLine, Tables},
};

impl Frame for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: the slice has the size of a `T`, and every pattern is one.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        let bytes = self.get_mut(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: the slice has the size of a `T`, which has no padding.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }
}

/// All tables, with the sizes of the maps.
#[derive(Debug)]
pub struct HostTables {
    /// See [`crate::layout`].
    pub config: Config,
    /// By slot.
    pub vips: Vec<Vip>,
    /// By slot.
    pub services: Vec<Service>,
    /// By number of the set.
    pub sources: Vec<SourceSet>,
    /// By number of the ring; an empty one is nobody's.
    pub rings: Vec<Vec<Bucket>>,
    /// By number.
    pub instances: Vec<Instance>,
    /// The transition table.
    pub notes: Vec<NoteLine>,
    /// What [`Tables::epoch`] tells.
    pub epoch: u8,
    /// What was counted.
    pub counters: RefCell<Counters>,
}

/// Counters that are not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By scope.
    pub services: BTreeMap<u16, Traffic>,
    /// By instance number.
    pub instances: BTreeMap<u16, Traffic>,
    /// By scope and reason.
    pub drops: BTreeMap<(u16, Reason), u64>,
}

impl Default for HostTables {
    fn default() -> Self {
        Self {
            config: Config::default(),
            vips: vec![Vip::default(); SLOTS as usize],
            services: vec![Service::default(); SLOTS as usize],
            sources: vec![SourceSet::default(); SOURCE_SETS as usize],
            rings: vec![Vec::new(); RINGS as usize],
            instances: vec![Instance::default(); INSTANCES as usize],
            notes: std::iter::repeat_with(NoteLine::default).take(NOTE_LINES as usize).collect(),
            epoch: 0,
            counters: RefCell::default(),
        }
    }
}

impl Tables for HostTables {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn vip(&self, slot: u32) -> Option<&Vip> {
        self.vips.get(slot as usize)
    }

    fn service(&self, slot: u32) -> Option<&Service> {
        self.services.get(slot as usize)
    }

    fn sources(&self, set: u32) -> Option<&SourceSet> {
        self.sources.get(set as usize)
    }

    fn bucket(&self, ring: u32, bucket: u32) -> Option<Bucket> {
        debug_assert!((bucket as usize) < RING_WORDS);
        let ring = self.rings.get(ring as usize)?;
        Some(ring.get(bucket as usize).copied().unwrap_or_default())
    }

    fn instance(&self, number: u32) -> Option<&Instance> {
        self.instances.get(number as usize)
    }

    fn notes(&self, line: u32) -> Option<&NoteLine> {
        self.notes.get(line as usize)
    }

    fn epoch(&self) -> u8 {
        self.epoch
    }

    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        let mut counters = self.counters.borrow_mut();
        add(counters.services.entry(scope).or_default(), bytes, syn);
        add(counters.instances.entry(instance).or_default(), bytes, syn);
    }

    fn count_drop(&self, scope: u16, reason: Reason, _source: Address) {
        *self.counters.borrow_mut().drops.entry((scope, reason)).or_default() += 1;
    }
}

fn add(traffic: &mut Traffic, bytes: u64, syn: u64) {
    traffic.packets += 1;
    traffic.bytes += bytes;
    traffic.syns += syn;
}
