//! The pipeline's two traits over plain memory: for tests, fuzzing and `gateway explain`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    address::Address,
    checksum,
    decap::{self, Asked, Owner, Sockets},
    frame::{Frame, Pod, Shrink},
    headers::Tcp,
    layout::{Block, FRAGMENT_LINES, NOTE_LINES, Probe, Traffic},
    limit,
    note::Settled,
    parse::{ETHERNET, IpHeader},
    probe::{Probes, StackFrame},
    reason::Reason,
    step::Step,
    tables::{Answered, NoteLine, Route, Tables},
    word::Word,
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

    fn grow(&mut self, bytes: usize) -> Option<()> {
        self.splice(..0, std::iter::repeat_n(0, bytes));
        Some(())
    }
}

impl Shrink for Vec<u8> {
    fn shrink(&mut self, bytes: usize) -> Option<()> {
        if self.len() < bytes + ETHERNET {
            return None;
        }
        self.drain(..bytes);
        Some(())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        if length > self.len() || length < ETHERNET {
            return None;
        }
        Self::truncate(self, length);
        Some(())
    }
}

impl StackFrame for Vec<u8> {
    fn change_checksum<H: IpHeader>(&mut self, offset: usize, change: u64) -> Option<()> {
        let before = u16::from_be(self.read::<u16>(offset)?);
        self.write(offset, checksum::adjust(before, change).to_be())
    }

    fn tunnel(&mut self, _: u16) {}
}

/// Connections through the data path, and the tables that they go by.
#[derive(Debug)]
pub struct HostProbes<'t> {
    /// [`Probes::block`] and [`Probes::interface`]
    pub tables: &'t HostTables,
    /// By slot.
    pub probes: BTreeMap<u32, Probe>,
}

impl Probes for HostProbes<'_> {
    fn block(&self) -> Option<&Block> {
        self.tables.block()
    }

    fn probe(&self, slot: u32) -> Option<&Probe> {
        self.probes.get(&slot)
    }

    fn interface(&self) -> u32 {
        self.tables.interface
    }
}

/// All tables, as they are in the maps.
#[derive(Debug)]
pub struct HostTables {
    /// What the control plane decided.
    pub block: Box<Block>,
    /// The transition table.
    pub notes: Vec<NoteLine>,
    /// Fragmented datagrams.
    pub fragments: Vec<NoteLine>,
    /// The token buckets of answers.
    pub allowances: Vec<Word>,
    /// What [`Tables::now`] tells.
    pub now: u64,
    /// What [`Tables::interface`] tells.
    pub interface: u32,
    /// What [`Tables::route`] tells, by destination; to others no route is known.
    pub routes: BTreeMap<Address, Route>,
    /// What was counted.
    pub counters: RefCell<Counters>,
    /// What was told, where somebody listens.
    pub told: Option<RefCell<Vec<Step>>>,
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
    /// By kind.
    pub answers: BTreeMap<Answered, u64>,
    /// By how packets of moved buckets were settled.
    pub settled: BTreeMap<Settled, u64>,
}

/// Sockets of an instance, for [`crate::decap`].
#[derive(Debug, Default)]
pub struct HostSockets {
    /// Flows to a VIP that have a socket in any state but LISTEN: client, ports as [`crate::address::ports`] packs them, VIP.
    pub flows: BTreeSet<(Address, u32, Address)>,
    /// The numbers by which acknowledgments of such flows answer a SYN cookie.
    pub cookies: BTreeSet<(Address, u32, Address, u32)>,
    /// [`Sockets::newest`]
    pub newest: Word,
    /// What was counted.
    pub settled: RefCell<BTreeMap<decap::Settled, u64>>,
}

impl Sockets for HostSockets {
    fn owner<F: Frame, H: IpHeader>(&self, frame: &F, asked: &Asked<'_, H>) -> Owner {
        let (source, ports, vip) = (asked.flow.source, asked.flow.ports, asked.vip);
        let tcp = asked.segment.and_then(|place| frame.read::<Tcp>(place));
        let answers =
            |tcp: Tcp| self.cookies.contains(&(source, ports, vip, u32::from_be(tcp.acknowledgment)));
        if self.flows.contains(&(source, ports, vip)) {
            Owner::Socket
        } else if tcp.is_some_and(answers) {
            Owner::Cookie
        } else {
            Owner::Nobody
        }
    }

    fn newest(&self) -> Option<&Word> {
        Some(&self.newest)
    }

    fn settle(&self, how: decap::Settled) {
        *self.settled.borrow_mut().entry(how).or_default() += 1;
    }
}

impl Default for HostTables {
    fn default() -> Self {
        Self {
            // SAFETY: integers only, all zero as in a new map; too large to be made on the stack.
            block: unsafe { Box::new_zeroed().assume_init() },
            notes: lines(NOTE_LINES),
            fragments: lines(FRAGMENT_LINES),
            allowances: std::iter::repeat_with(Word::default).take(limit::BUCKETS as usize).collect(),
            now: 0,
            interface: 0,
            routes: BTreeMap::new(),
            counters: RefCell::default(),
            told: None,
        }
    }
}

impl Tables for HostTables {
    fn block(&self) -> Option<&Block> {
        Some(&self.block)
    }

    fn notes(&self, line: u32) -> Option<&NoteLine> {
        self.notes.get(line as usize)
    }

    fn fragments(&self, line: u32) -> Option<&NoteLine> {
        self.fragments.get(line as usize)
    }

    fn allowance(&self, index: u32) -> Option<&Word> {
        self.allowances.get(index as usize)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn route(&self, _: Address, destination: Address, _: u8, _: u16) -> Route {
        self.routes.get(&destination).copied().unwrap_or(Route::Unknown)
    }

    fn count(&self, scope: u16, instance: u16, bytes: u64, syn: u64) {
        let mut counters = self.counters.borrow_mut();
        add(counters.services.entry(scope).or_default(), bytes, syn);
        add(counters.instances.entry(instance).or_default(), bytes, syn);
    }

    fn count_drop(&self, scope: u16, reason: Reason) {
        *self.counters.borrow_mut().drops.entry((scope, reason)).or_default() += 1;
    }

    fn count_answer(&self, answered: Answered) {
        *self.counters.borrow_mut().answers.entry(answered).or_default() += 1;
    }

    fn tell(&self, step: impl FnOnce() -> Step) {
        if let Some(told) = &self.told {
            told.borrow_mut().push(step());
        }
    }

    fn count_settled(&self, settled: Settled) {
        *self.counters.borrow_mut().settled.entry(settled).or_default() += 1;
    }
}

fn lines(count: u32) -> Vec<NoteLine> {
    std::iter::repeat_with(NoteLine::default).take(count as usize).collect()
}

fn add(traffic: &mut Traffic, bytes: u64, syn: u64) {
    traffic.packets += 1;
    traffic.bytes += bytes;
    traffic.syns += syn;
}
