//! The kernel's side of an instance's source NAT: two programs of TC, one table that says by which ports flows leave, and the flows.
//!
//! Between this and whoever leases ports: [`Snat::apply`] takes a [`Translation`], whole, as often as it changes; [`Snat::sweep`] is
//! to be called every few seconds, and tells what is in use; [`Snat::counts`] and [`Snat::exhausted`] tell the rest. If nobody
//! calls, packets go on: the programs take over by themselves what is over.

mod attach;
mod counts;
mod flows;
mod inherit;
mod sweep;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::Instant,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramInfo, SchedClassifier, tc::SchedClassifierLink},
};
use gateway_ebpf::snat::layout::{Halves, Key, LAYOUT, Table, tick};

pub use self::{
    counts::{Counts, Exhausted},
    usage::{BlockUsage, Usage},
};
use self::{flows::Flows, sweep::Both, usage::Idle};
use super::{Error, OBJECT, grace, now, pins::Pins, shared::Shared};
use crate::plan::{Translation, translation, translation::Lease};

/// Maps of the balancer's programs, which come with the object.
const UNUSED: [&str; 9] = [
    "TRANSITIONS",
    "FRAGMENTS",
    "PROBES",
    "SERVICE_TRAFFIC",
    "INSTANCE_TRAFFIC",
    "DROPS",
    "ANSWERS",
    "ALLOWANCES",
    "SETTLED",
];
/// Large ones of this module's, which others that load the object have no use for.
pub(super) const MAPS: [&str; 2] = ["SNAT_FORWARD", "SNAT_REVERSE"];
/// All programs.
const PROGRAMS: [&str; 3] = ["gateway_snat_in", "gateway_snat_out", "gateway_snat_new"];
/// Those that another one goes on with, in the order of the map `SNAT_NEXT`.
const NEXT: [&str; 2] = ["gateway_snat_out", "gateway_snat_new"];
/// How many sweeps there are to one that looks for orphans.
const SWEEPS: u32 = 32;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// At what leaves the host.
    Out,
    /// At what comes to it.
    In,
}

impl Direction {
    /// Both. What leaves is looked at last: until then nothing of ours is on its way.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// What it is called.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Out => "gateway_snat_out",
            Self::In => "gateway_snat_in",
        }
    }
}

/// The programs, their table and the flows. Dropping it detaches, unless it is [settled](Self::settle).
pub struct Snat {
    /// None: they are a predecessor's, and go on.
    ebpf: Option<Ebpf>,
    table: Shared<Halves>,
    forward: Flows,
    reverse: Flows,
    counts: PerCpuArray<MapData, u64>,
    drops: PerCpuArray<MapData, u64>,
    exhausted: HashMap<MapData, Key, u64>,
    idle: Idle,
    sweeps: u32,
    pins: Option<Pins>,
    /// The interfaces that the programs are attached to by pinned links.
    pinned: BTreeSet<u32>,
    /// Keeps what it names. None: a predecessor's pin does.
    _next: Option<ProgramArray<MapData>>,
    /// Links that nothing pins.
    links: Vec<SchedClassifierLink>,
}

impl Snat {
    /// Loads the programs; none is attached yet, and no port is leased.
    ///
    /// # Errors
    /// No privileges, old kernel, refused by the verifier.
    pub fn load() -> Result<Self, Error> {
        Self::with(None)
    }

    /// Loads the programs with the maps that are pinned ([`super::pins::Piece::Snat`]); what is not there is made and pinned. Programs
    /// that are at work go on; [`Self::attach`] puts these in their place, and flows go on.
    ///
    /// # Errors
    /// As [`Self::load`]; tables of another layout.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        Self::with(Some(pins))
    }

    fn with(mut pins: Option<Pins>) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        let mut loader = EbpfLoader::new();
        for map in UNUSED {
            loader.map_max_entries(map, 1);
        }
        if let Some(pins) = &pins {
            for map in pins.piece.kept() {
                loader.map_pin_path(map.name, pins.path(map.name));
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(Error::load)?;
        for name in PROGRAMS {
            classifier(&mut ebpf, name)?.load().map_err(Error::verify)?;
        }
        let next = ebpf.take_map("SNAT_NEXT").ok_or(Error::NotInObject("SNAT_NEXT"))?;
        if let (Some(pins), Map::ProgramArray(next)) = (&mut pins, &next) {
            let id = program(&mut ebpf, Direction::Out)?.info()?.id();
            next.pin(pins.begin(id)).map_err(Error::pin("SNAT_NEXT"))?;
        }
        let mut next: ProgramArray<MapData> = next.try_into().map_err(Error::map("SNAT_NEXT"))?;
        for (place, name) in (0..).zip(NEXT) {
            next.set(place, classifier(&mut ebpf, name)?.fd()?, 0).map_err(Error::map("SNAT_NEXT"))?;
        }
        let table: Shared<Halves> = Shared::map(take(&mut ebpf, "SNAT_TABLE")?)?;
        if let Some(pins) = pins.as_ref().filter(|pins| pins.is_alive())
            && table.get().layout != LAYOUT
        {
            return Err(pins.layout());
        }
        Ok(Self {
            table,
            forward: Flows::new(take(&mut ebpf, "SNAT_FORWARD")?, "SNAT_FORWARD"),
            reverse: Flows::new(take(&mut ebpf, "SNAT_REVERSE")?, "SNAT_REVERSE"),
            counts: map(&mut ebpf, "SNAT_COUNTS")?,
            drops: map(&mut ebpf, "SNAT_DROPS")?,
            exhausted: map(&mut ebpf, "SNAT_EXHAUSTED")?,
            idle: Idle::default(),
            sweeps: 0,
            pins,
            pinned: BTreeSet::new(),
            links: Vec::new(),
            _next: Some(next),
            ebpf: Some(ebpf),
        })
    }

    /// Whether programs of a predecessor are at work.
    pub fn has_predecessor(&self) -> bool {
        self.pins.as_ref().is_some_and(Pins::is_alive)
    }

    /// What packets go by: after a restart what a predecessor left.
    pub fn leases(&self) -> BTreeMap<IpAddr, Lease> {
        let table = self.table.get().active();
        translation::vips(table).map(|(_, vip, entry)| (vip, Lease::read(entry))).collect()
    }

    /// Has packets go by `wanted`, by all of it at once, and returns when none goes by what was before. What is so already is not
    /// touched. Flows whose ports are not leased any more are over; so are all flows where the DIP, or how answers come, is another.
    ///
    /// # Errors
    /// Too many VIPs, ports or networks; a map that could not be read.
    pub fn apply(&mut self, wanted: &Translation) -> Result<(), Error> {
        let running = self.table.get().active();
        let mut next = empty();
        wanted.write(running, &mut next).map_err(Error::Translation)?;
        if next.seed == 0 {
            next.seed = RandomState::new().hash_one(());
        }
        if *running == *next {
            return Ok(());
        }
        let _guard = match &self.pins {
            Some(pins) => pins.guard()?,
            None => None,
        };
        let is_new = running.one == 0;
        let is_other = !is_new && (running.dips, running.flags) != (next.dips, next.flags);
        self.table.replace(&next);
        grace::wait();
        match (is_new, is_other) {
            (true, _) => Ok(()),
            (false, true) => self.both().clear(),
            (false, false) => self.both().sweep(&next, tick(now())).map(|_| ()),
        }
    }

    /// Ends flows that are over, and tells what is in use.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn sweep(&mut self) -> Result<Usage, Error> {
        let now = tick(now());
        let table = self.table.get().active();
        let both = Both { forward: &self.forward, reverse: &self.reverse };
        let living = both.sweep(table, now)?;
        self.sweeps = self.sweeps.wrapping_add(1);
        if self.sweeps.is_multiple_of(SWEEPS) {
            both.sweep_orphans(table, now)?;
        }
        Ok(self.idle.usage(table, &living, Instant::now()))
    }

    /// What was counted since the programs were loaded first.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        Counts::read(&self.counts, &self.drops)
    }

    /// Destinations for which no port was free, the latest first.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn exhausted(&self) -> Result<Vec<Exhausted>, Error> {
        Exhausted::read(&self.exhausted, tick(now()))
    }

    /// A program, for test runs.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn program(&mut self, direction: Direction) -> Result<&mut SchedClassifier, Error> {
        program(self.ebpf.as_mut().ok_or(Error::Inherit)?, direction)
    }

    /// Every program with its name.
    ///
    /// # Errors
    /// The kernel does not say; the programs are a predecessor's.
    pub fn programs(&mut self) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let ebpf = self.ebpf.as_mut().ok_or(Error::Inherit)?;
        PROGRAMS.into_iter().map(|name| Ok((name, classifier(ebpf, name)?.info()?))).collect()
    }

    const fn both(&self) -> Both<'_> {
        Both { forward: &self.forward, reverse: &self.reverse }
    }
}

fn program(ebpf: &mut Ebpf, direction: Direction) -> Result<&mut SchedClassifier, Error> {
    classifier(ebpf, direction.program())
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut SchedClassifier, Error> {
    Ok(ebpf.program_mut(name).ok_or(Error::NotInObject(name))?.try_into()?)
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(Map::Array(data) | Map::HashMap(data)) => Ok(data),
        _ => Err(Error::NotInObject(name)),
    }
}

fn map<M: TryFrom<Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))?.try_into().map_err(Error::map(name))
}

/// On the heap from the beginning: it is too large for the stack.
fn empty() -> Box<Table> {
    // SAFETY: integers only, for which zero is a value.
    unsafe { Box::new_zeroed().assume_init() }
}
