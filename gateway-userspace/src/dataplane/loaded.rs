//! The loaded object: what its two uses, a balancer's and an instance's, have in common.

mod inherit;

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
    counters::{BalancerMaps, CounterMaps},
    events::{Events, ScopeNames},
    grace,
    pins::{Hook, Pins},
    probe::Direction,
    record::Record,
    ring::{self, Reader, Ring},
    shared::Shared,
};
use crate::plan::{Changes, Plan};

/// Programs and maps. Dropping it detaches.
pub(super) struct Loaded {
    /// None: the programs are a predecessor's.
    ebpf: Option<Ebpf>,
    /// The program that is attached.
    main: &'static str,
    /// All tables that user space writes, in the kernel's own memory.
    blocks: Shared<Blocks>,
    /// The interfaces, for packets that leave by another than they came by. None where the programs are a predecessor's: without
    /// privileges aya cannot tell how such a map is written to.
    ports: Option<DevMap<MapData>>,
    /// Keeps what it names.
    _next: Option<ProgramArray<MapData>>,
    counters: CounterMaps,
    applied: Option<Plan>,
    record: Option<Record>,
    /// Packets come.
    is_attached: bool,
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
        mut pins: Option<Pins>,
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
        if let (Some(pins), Map::ProgramArray(next)) = (&mut pins, &map) {
            next.pin(pins.begin(id)).map_err(Error::pin("NEXT"))?;
        }
        let mut places: ProgramArray<MapData> = map.try_into().map_err(Error::map("NEXT"))?;
        for (place, name) in next {
            let program = program(&mut ebpf, name)?;
            program.load().map_err(Error::verify)?;
            places.set(place, program.fd()?, 0).map_err(Error::map("NEXT"))?;
        }
        let ports = ebpf.take_map("PORTS").ok_or(Error::NotInObject("PORTS"))?;
        let samples = ebpf.take_map("SAMPLES").ok_or(Error::NotInObject("SAMPLES"))?;
        let ring = Ring::new(Some(samples.try_into().map_err(Error::map("SAMPLES"))?));
        let blocks: Shared<Blocks> = Shared::map(array(&mut ebpf, "TABLES")?)?;
        let is_attached = pins.as_ref().is_some_and(Pins::is_alive);
        let (applied, record) = match &pins {
            Some(pins) if is_attached => {
                let (plan, record) = running(&blocks, pins)?;
                (Some(plan), Some(record))
            }
            _ => (None, None),
        };
        Ok(Self {
            blocks,
            pins,
            links: BTreeSet::new(),
            ports: Some(ports.try_into().map_err(Error::map("PORTS"))?),
            _next: Some(places),
            counters: CounterMaps {
                services: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
                instances: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
                drops: per_cpu(&mut ebpf, "DROPS")?,
                balancer: Some(BalancerMaps {
                    answers: per_cpu(&mut ebpf, "ANSWERS")?,
                    steering: per_cpu(&mut ebpf, "SETTLED")?,
                }),
            },
            applied,
            record,
            is_attached,
            scopes: Arc::default(),
            events: None,
            ring: Arc::new(Mutex::new(ring)),
            reader: None,
            main,
            ebpf: Some(ebpf),
        })
    }

    /// Forwards the programs' events, the first drop of each kind, to the log, and keeps the last drops that they show.
    pub(super) fn log_events(&mut self) -> Result<(), Error> {
        let Some(ebpf) = &mut self.ebpf else { return Ok(()) };
        self.events = Some(Events::start(ebpf, Arc::clone(&self.scopes))?);
        self.reader = Reader::start(Arc::clone(&self.ring))?;
        Ok(())
    }

    /// Where the program of a predecessor is, this one takes its place between two packets.
    pub(super) fn attach(&mut self, interface: &str) -> Result<XdpMode, Error> {
        let Self { ebpf, main, pins, links, .. } = self;
        let Some(ebpf) = ebpf else { return self.inherited(interface) };
        let program = program(ebpf, main)?;
        let Some(pins) = pins else {
            let (mode, _) = attach::attach(program, interface)?;
            self.is_attached = true;
            return Ok(mode);
        };
        let index = index(interface)?;
        let mode = if let Some(link) = pins.links.get(&(index, Hook::Xdp)) {
            let pinned = PinnedLink::from_pin(&link.path).map_err(Error::pin("the link"))?;
            let taken = XdpLink::try_from(FdLink::from(pinned)).map_err(Error::pin("the link"))?;
            program.attach_to_link(taken)?;
            let mode = link.mode;
            pins.set_at_work();
            mode
        } else {
            let (mode, id) = attach::attach(program, interface)?;
            let link = FdLink::try_from(program.take_link(id)?).map_err(Error::pin("the link"))?;
            // The pin holds it.
            drop(link.pin(pins.xdp_link(index, mode)).map_err(Error::pin("the link"))?);
            mode
        };
        links.insert(index);
        self.is_attached = true;
        Ok(mode)
    }

    /// An interface is gone, and the program is at none of its packets any more.
    pub(super) fn lose(&mut self, interface: u32) -> Result<(), Error> {
        self.links.remove(&interface);
        self.pins.as_mut().map_or(Ok(()), |pins| pins.forget(interface))
    }

    /// What is attached and pinned now stays when this process ends, and nothing else.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let Some(pins) = &mut self.pins else { return Ok(()) };
        // No packet is half-way through a program of before.
        grace::wait();
        pins.settle(&self.links)
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
        let main = self.main;
        program(self.own()?, main)
    }

    pub(super) fn info(&mut self, name: &'static str) -> Result<ProgramInfo, Error> {
        Ok(program(self.own()?, name)?.info()?)
    }

    /// A program of TC.
    pub(super) fn classifier(&mut self, direction: Direction) -> Result<&mut SchedClassifier, Error> {
        let name = direction.program();
        Ok(self.own()?.program_mut(name).ok_or(Error::NotInObject(name))?.try_into()?)
    }

    /// A map, to be used elsewhere.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Map, Error> {
        self.own()?.take_map(name).ok_or(Error::NotInObject(name))
    }

    /// A map of whole values, to be mapped into memory.
    pub(super) fn array(&mut self, name: &'static str) -> Result<MapData, Error> {
        array(self.own()?, name)
    }

    pub(super) fn per_cpu<V: Pod>(&mut self, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
        per_cpu(self.own()?, name)
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
            Some(pins) => pins.guard()?,
            None => None,
        };
        record.write(&mut next)?;
        next.sequence = active.sequence + 1;
        self.clear_new_numbers(plan)?;
        self.set_ports(plan)?;
        self.blocks.replace(&next);
        if self.is_attached {
            grace::wait();
        }
        self.record = Some(record);
        self.scopes.store(Arc::new(plan.scopes.iter().map(|(scope, &n)| (n, scope.to_string())).collect()));
        self.applied = Some(plan.clone());
        Ok(changes)
    }

    fn set_ports(&mut self, plan: &Plan) -> Result<(), Error> {
        let ports = |plan: &Plan| {
            let ports =
                plan.interfaces.values().map(|interface| (u32::from(interface.port), interface.index));
            ports.collect::<BTreeMap<_, _>>()
        };
        let wanted = ports(plan);
        if self.applied.as_ref().map(ports).as_ref() == Some(&wanted) {
            return Ok(());
        }
        let map = self.ports.as_mut().ok_or(Error::Inherit)?;
        for (port, index) in wanted {
            map.set(port, index, None, 0).map_err(Error::device)?;
        }
        Ok(())
    }

    /// The programs, where this process has loaded them.
    fn own(&mut self) -> Result<&mut Ebpf, Error> {
        self.ebpf.as_mut().ok_or(Error::Inherit)
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

/// What a predecessor's tables say, as long as they can be read.
fn running(blocks: &Shared<Blocks>, pins: &Pins) -> Result<(Plan, Record), Error> {
    if blocks.get().layout != LAYOUT {
        return Err(pins.layout());
    }
    let active = blocks.get().active();
    let record = Record::read(active)?;
    let plan = Plan::read(active, record.names.clone());
    // It may have been killed before it had waited.
    grace::wait();
    Ok((plan, record))
}

pub(super) fn index(interface: &str) -> Result<u32, Error> {
    if_nametoindex(interface)
        .map_err(|error| Error::NoInterface { interface: interface.to_owned(), source: error.into() })
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
