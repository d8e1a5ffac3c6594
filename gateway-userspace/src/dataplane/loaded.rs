//! The loaded object: what its two uses, a balancer's and an instance's, have in common.

use std::sync::{Arc, Mutex};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{DevMap, Map, MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{ProgramInfo, SchedClassifier, Xdp},
};
use gateway_ebpf::{
    layout::{Block, Blocks, REASONS, Traffic},
    note::Settled,
};
use serde_json::Value;

use super::{
    Counters, Error, XdpMode, attach,
    counters::CounterMaps,
    events::{Events, ScopeNames},
    grace,
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
    ) -> Result<Self, Error> {
        if object.is_empty() {
            return Err(Error::NoObject);
        }
        let mut loader = EbpfLoader::new();
        for map in unused {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader.load(object).map_err(Error::load)?;
        program(&mut ebpf, main)?.load().map_err(Error::verify)?;
        let map = ebpf.take_map("NEXT").ok_or(Error::NotInObject("NEXT"))?;
        let mut places: ProgramArray<MapData> = map.try_into().map_err(Error::map("NEXT"))?;
        for (place, name) in next {
            let program = program(&mut ebpf, name)?;
            program.load().map_err(Error::verify)?;
            places.set(place, program.fd()?, 0).map_err(Error::map("NEXT"))?;
        }
        let ports = ebpf.take_map("PORTS").ok_or(Error::NotInObject("PORTS"))?;
        let samples = ebpf.take_map("SAMPLES").ok_or(Error::NotInObject("SAMPLES"))?;
        let ring = Ring::new(samples.try_into().map_err(Error::map("SAMPLES"))?);
        Ok(Self {
            blocks: Shared::map(array(&mut ebpf, "TABLES")?)?,
            ports: ports.try_into().map_err(Error::map("PORTS"))?,
            _next: places,
            counters: CounterMaps {
                services: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
                instances: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
                drops: per_cpu(&mut ebpf, "DROPS")?,
                answers: per_cpu(&mut ebpf, "ANSWERS")?,
                steering: per_cpu(&mut ebpf, "SETTLED")?,
            },
            applied: None,
            record: None,
            is_attached: false,
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

    pub(super) fn attach(&mut self, interface: &str) -> Result<XdpMode, Error> {
        let mode = attach::attach(self.program()?, interface)?;
        self.is_attached = true;
        Ok(mode)
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

    pub(super) fn applied(&self) -> Option<&Plan> {
        self.applied.as_ref()
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
        let is_new = |number: &&u16| !running.instances.contains_key(number);
        let instances: Vec<u16> = plan.instances.keys().filter(is_new).copied().collect();
        let is_new = |number: &&u16| !running.scopes.values().any(|n| n == *number);
        let scopes: Vec<u16> = plan.scopes.values().filter(is_new).copied().collect();
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
