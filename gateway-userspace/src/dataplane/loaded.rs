//! The loaded object: what its two uses, a balancer's and an instance's, have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{DevMap, Map, MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{
        ProgramInfo, SchedClassifier, Xdp,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};
use gateway_ebpf::{
    layout::{Block, Blocks, LAYOUT, REASONS, Traffic},
    note::Settled,
};
use nix::net::if_::if_nametoindex;
use serde_json::Value;

use super::{
    Counters, Error, XdpMode, attach,
    counters::CounterMaps,
    events::{Events, ScopeNames},
    grace,
    pins::Pins,
    probe::Direction,
    record::Record,
    ring::{self, Reader, Ring},
    shared::Shared,
};
use crate::plan::{Changes, Plan};

/// Programs and maps. Dropping it detaches.
pub(super) struct Loaded {
    ebpf: Ebpf,
    /// The program that is attached.
    main: &'static str,
    /// All tables that user space writes, in the kernel's own memory.
    blocks: Shared<Blocks>,
    /// The interfaces, for packets that leave by another than they came by.
    ports: DevMap<MapData>,
    /// Keeps what it names.
    _next: ProgramArray<MapData>,
    counters: CounterMaps,
    applied: Option<Plan>,
    record: Option<Record>,
    /// Packets come.
    is_attached: bool,
    /// Of the program that is attached.
    id: u32,
    /// What stays when this process ends.
    pins: Option<Pins>,
    /// The interfaces that it is attached to by pinned links.
    links: BTreeSet<u32>,
    /// For events.
    scopes: Arc<ScopeNames>,
    events: Option<Events>,
    /// Dropped packets, shared with their reader.
    ring: Arc<Mutex<Ring>>,
    reader: Option<Reader>,
}

impl Loaded {
    /// Loads `main`, which is to be attached, and the programs that go on where it leaves off, by their places in the map
    /// `NEXT`. An object is loaded with all its maps: `unused` ones are made as small as they can be.
    pub(super) fn load(
        object: &[u8],
        main: &'static str,
        next: impl IntoIterator<Item = (u32, &'static str)>,
        unused: &[&str],
        pins: Option<Pins>,
    ) -> Result<Self, Error> {
        if object.is_empty() {
            return Err(Error::NoObject);
        }
        let mut loader = EbpfLoader::new();
        if let Some(pins) = &pins {
            for map in pins.piece.kept() {
                loader.map_pin_path(map.name, pins.path(map.name));
            }
        }
        for map in unused {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader.load(object).map_err(Error::load)?;
        program(&mut ebpf, main)?.load().map_err(Error::verify)?;
        let id = program(&mut ebpf, main)?.info()?.id();
        let map = ebpf.take_map("NEXT").ok_or(Error::NotInObject("NEXT"))?;
        if let (Some(pins), Map::ProgramArray(next)) = (&pins, &map) {
            next.pin(pins.next(id)).map_err(Error::pin("NEXT"))?;
        }
        let mut places: ProgramArray<MapData> = map.try_into().map_err(Error::map("NEXT"))?;
        for (place, name) in next {
            let program = program(&mut ebpf, name)?;
            program.load().map_err(Error::verify)?;
            places.set(place, program.fd()?, 0).map_err(Error::map("NEXT"))?;
        }
        let ports = ebpf.take_map("PORTS").ok_or(Error::NotInObject("PORTS"))?;
        let samples = ebpf.take_map("SAMPLES").ok_or(Error::NotInObject("SAMPLES"))?;
        let ring = Ring::new(samples.try_into().map_err(Error::map("SAMPLES"))?);
        let blocks: Shared<Blocks> = Shared::map(array(&mut ebpf, "TABLES")?)?;
        let is_attached = pins.as_ref().is_some_and(Pins::is_alive);
        let (mut applied, mut record) = (None, None);
        if let Some(pins) = pins.as_ref().filter(|_| is_attached) {
            if blocks.get().layout != LAYOUT {
                return Err(pins.layout());
            }
            let active = blocks.get().active();
            let known = Record::read(active)?;
            applied = Some(Plan::read(active, known.names.clone()));
            record = Some(known);
            // The last process may have been killed before it had waited.
            grace::wait();
        }
        Ok(Self {
            blocks,
            id,
            pins,
            links: BTreeSet::new(),
            ports: ports.try_into().map_err(Error::map("PORTS"))?,
            _next: places,
            counters: CounterMaps {
                services: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
                instances: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
                drops: per_cpu(&mut ebpf, "DROPS")?,
                answers: per_cpu(&mut ebpf, "ANSWERS")?,
                steering: per_cpu(&mut ebpf, "SETTLED")?,
            },
            applied,
            record,
            is_attached,
            scopes: Arc::default(),
            events: None,
            ring: Arc::new(Mutex::new(ring)),
            reader: None,
            main,
            ebpf,
        })
    }

    /// Forwards the programs' events, the first drop of each kind, to the log, and keeps the last drops that they show.
    pub(super) fn log_events(&mut self) -> Result<(), Error> {
        self.events = Some(Events::start(&mut self.ebpf, Arc::clone(&self.scopes))?);
        self.reader = Some(Reader::start(Arc::clone(&self.ring))?);
        Ok(())
    }

    /// Where the program of a predecessor is, this one takes its place between two packets.
    pub(super) fn attach(&mut self, interface: &str) -> Result<XdpMode, Error> {
        let Self { ebpf, main, pins, links, .. } = self;
        let program = program(ebpf, main)?;
        let Some(pins) = pins else {
            let (mode, _) = attach::attach(program, interface)?;
            self.is_attached = true;
            return Ok(mode);
        };
        let index = if_nametoindex(interface)
            .map_err(|error| Error::NoInterface { interface: interface.to_owned(), source: error.into() })?;
        let mode = if let Some(link) = pins.links.get(&index) {
            let pinned = PinnedLink::from_pin(&link.path).map_err(Error::pin("the link"))?;
            let taken = XdpLink::try_from(FdLink::from(pinned)).map_err(Error::pin("the link"))?;
            program.attach_to_link(taken)?;
            link.mode
        } else {
            let (mode, id) = attach::attach(program, interface)?;
            let link = FdLink::try_from(program.take_link(id)?).map_err(Error::pin("the link"))?;
            // The pin holds it.
            drop(link.pin(pins.link(index, mode)).map_err(Error::pin("the link"))?);
            mode
        };
        links.insert(index);
        self.is_attached = true;
        Ok(mode)
    }

    /// What is attached and pinned now stays when this process ends, and nothing else.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let Some(pins) = &mut self.pins else { return Ok(()) };
        // No packet is half-way through a program of before.
        grace::wait();
        pins.settle(&self.links, self.id)
    }

    /// Detaches, and leaves nothing pinned.
    pub(super) fn detach(mut self) -> Result<(), Error> {
        self.pins.as_mut().map_or(Ok(()), Pins::remove)
    }

    /// What a predecessor left running, and what it had saved.
    pub(super) fn running(&self) -> Option<(&Plan, &Value)> {
        Some((self.applied.as_ref()?, &self.record.as_ref()?.owner))
    }

    /// The program that is attached.
    pub(super) fn program(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.ebpf, self.main)
    }

    pub(super) fn info(&mut self, name: &'static str) -> Result<ProgramInfo, Error> {
        Ok(program(&mut self.ebpf, name)?.info()?)
    }

    /// A program of TC.
    pub(super) fn classifier(&mut self, direction: Direction) -> Result<&mut SchedClassifier, Error> {
        let name = direction.program();
        Ok(self.ebpf.program_mut(name).ok_or(Error::NotInObject(name))?.try_into()?)
    }

    /// A map, to be used elsewhere.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Map, Error> {
        self.ebpf.take_map(name).ok_or(Error::NotInObject(name))
    }

    /// A map of whole values, to be mapped into memory.
    pub(super) fn array(&mut self, name: &'static str) -> Result<MapData, Error> {
        array(&mut self.ebpf, name)
    }

    pub(super) fn per_cpu<V: Pod>(&mut self, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
        per_cpu(&mut self.ebpf, name)
    }

    /// Has packets go by the plan, with what its owner has to know beside it, and returns once none goes by the one before. What
    /// is so already is not touched.
    pub(super) fn apply(&mut self, plan: &Plan, owner: &Value) -> Result<Changes, Error> {
        let active = self.blocks.get().active();
        let record = Record { names: plan.names(), owner: owner.clone() };
        let mut next = empty();
        plan.write(&mut next);
        let changes = Changes::between(active, &next);
        let is_known = self.record.as_ref().is_some_and(|known| known.is_like(&record));
        if is_known && changes == Changes::default() {
            return Ok(changes);
        }
        let _guard = match &self.pins {
            Some(pins) => pins.guard(self.id)?,
            None => None,
        };
        record.write(&mut next)?;
        next.sequence = active.sequence + 1;
        self.clear_new_numbers(plan)?;
        let running = self.applied.as_ref().map(|plan| &plan.interfaces);
        if running != Some(&plan.interfaces) {
            for interface in plan.interfaces.values() {
                let place = u32::from(interface.port);
                self.ports.set(place, interface.index, None, 0).map_err(Error::device)?;
            }
        }
        self.blocks.replace(&next);
        if self.is_attached {
            grace::wait();
        }
        self.record = Some(record);
        self.scopes.store(Arc::new(plan.scopes.iter().map(|(scope, &n)| (n, scope.to_string())).collect()));
        self.applied = Some(plan.clone());
        Ok(changes)
    }

    /// A new number must not begin with the counters of what it named before.
    fn clear_new_numbers(&mut self, plan: &Plan) -> Result<(), Error> {
        // New maps are all zero.
        let Some(running) = &self.applied else { return Ok(()) };
        let cpus = aya::util::nr_cpus().map_err(|(file, source)| Error::Cpus { file, source })?;
        let instances = others(&plan.numbers, &running.numbers);
        let scopes = others(&plan.scopes, &running.scopes);
        let CounterMaps { services, instances: by_instance, drops, .. } = &mut self.counters;
        for number in instances {
            clear(by_instance, u32::from(number), cpus, "INSTANCE_TRAFFIC")?;
        }
        for number in scopes.iter().copied().map(u32::from) {
            clear::<Traffic>(services, number, cpus, "SERVICE_TRAFFIC")?;
            for reason in 0..REASONS {
                clear(drops, number * REASONS + reason, cpus, "DROPS")?;
            }
        }
        let mut ring = ring::lock(&self.ring);
        scopes.into_iter().for_each(|scope| ring.forget(scope));
        Ok(())
    }

    pub(super) fn settled(&self, how: Settled) -> Result<u64, Error> {
        self.counters.settled(how)
    }

    /// What was counted since the programs were loaded, with the names of the plan that is applied.
    pub(super) fn counters(&self) -> Result<Counters, Error> {
        let Some(plan) = &self.applied else { return Ok(Counters::default()) };
        let mut ring = ring::lock(&self.ring);
        ring.drain();
        self.counters.read(plan, &ring)
    }
}

/// Numbers that did not mean the same before.
fn others<K: Ord>(now: &BTreeMap<K, u16>, before: &BTreeMap<K, u16>) -> Vec<u16> {
    now.iter().filter(|(name, number)| before.get(name) != Some(number)).map(|(_, &number)| number).collect()
}

/// On the heap from the beginning: it is too large for the stack.
fn empty() -> Box<Block> {
    // SAFETY: integers only, for which zero is a value.
    unsafe { Box::new_zeroed().assume_init() }
}

fn clear<V: Pod + Default>(
    map: &mut PerCpuArray<MapData, V>,
    index: u32,
    cpus: usize,
    name: &'static str,
) -> Result<(), Error> {
    let zero = PerCpuValues::try_from(vec![V::default(); cpus])
        .map_err(|source| Error::Cpus { file: "per-CPU values", source })?;
    map.set(index, zero, 0).map_err(Error::map(name))
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, Error> {
    Ok(ebpf.program_mut(name).ok_or(Error::NotInObject(name))?.try_into()?)
}

fn array(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(Error::NotInObject(name)),
    }
}

fn per_cpu<V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))?.try_into().map_err(Error::map(name))
}
