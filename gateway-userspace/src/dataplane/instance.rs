//! The kernel's side of an instance: the program that takes packets out of the balancers' tunnels.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{DevMap, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramInfo, Xdp},
};
use gateway_ebpf::{
    decap::Settled,
    layout::{Block, REASONS, Traffic},
};

use super::{
    Counters, Error, OBJECT, XdpMode, attach, clear, counters,
    events::{Events, ScopeNames},
    per_cpu, program,
    ring::{self, Reader, Ring},
    shared::Shared,
    take,
};
use crate::plan::{Changes, Plan};

const PROGRAM: &str = "gateway_decap";
/// Maps of the balancer's programs. An object is loaded with all its maps, so these are made as small as they can be.
const UNUSED: [&str; 2] = ["TRANSITIONS", "FRAGMENTS"];
/// Shows what is dropped, from this place in the map `NEXT`.
const SAMPLE: (u32, &str) = (3, "gateway_sample");

/// How often packets of moved buckets were settled in each way.
pub type Settlements = BTreeMap<Settled, u64>;

/// The loaded program and its maps. Dropping it detaches.
pub struct Decapsulation {
    ebpf: Ebpf,
    block: Shared<Block>,
    /// The interfaces, for packets that go on to another instance.
    ports: DevMap<MapData>,
    /// Keeps what it names.
    _next: ProgramArray<MapData>,
    service_traffic: PerCpuArray<MapData, Traffic>,
    instance_traffic: PerCpuArray<MapData, Traffic>,
    drops: PerCpuArray<MapData, u64>,
    answers: PerCpuArray<MapData, u64>,
    /// What a balancer's programs count.
    steering: PerCpuArray<MapData, u64>,
    settled: PerCpuArray<MapData, u64>,
    ring: Arc<Mutex<Ring>>,
    applied: Option<Plan>,
    /// For events.
    scopes: Arc<ScopeNames>,
    events: Option<Events>,
    reader: Option<Reader>,
}

impl Decapsulation {
    /// Loads the program; it is not attached yet.
    ///
    /// # Errors
    /// No privileges, old kernel, refused by the verifier.
    pub fn load() -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        let mut loader = EbpfLoader::new();
        for map in UNUSED {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader.load(OBJECT).map_err(Error::load)?;
        program(&mut ebpf, PROGRAM)?.load().map_err(Error::verify)?;
        let next = ebpf.take_map("NEXT").ok_or(Error::NotInObject("NEXT"))?;
        let mut next: ProgramArray<MapData> = next.try_into().map_err(Error::map("NEXT"))?;
        let (place, name) = SAMPLE;
        let sample = program(&mut ebpf, name)?;
        sample.load().map_err(Error::verify)?;
        next.set(place, sample.fd()?, 0).map_err(Error::map("NEXT"))?;
        let ring = ebpf.take_map("SAMPLES").ok_or(Error::NotInObject("SAMPLES"))?;
        let ring = Ring::new(ring.try_into().map_err(Error::map("SAMPLES"))?);
        let ports = ebpf.take_map("PORTS").ok_or(Error::NotInObject("PORTS"))?;
        Ok(Self {
            block: Shared::map(take(&mut ebpf, "TABLES")?)?,
            ports: ports.try_into().map_err(Error::map("PORTS"))?,
            _next: next,
            service_traffic: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
            instance_traffic: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
            drops: per_cpu(&mut ebpf, "DROPS")?,
            answers: per_cpu(&mut ebpf, "ANSWERS")?,
            steering: per_cpu(&mut ebpf, "SETTLED")?,
            settled: per_cpu(&mut ebpf, "SETTLED_HERE")?,
            ring: Arc::new(Mutex::new(ring)),
            reader: None,
            applied: None,
            scopes: Arc::default(),
            events: None,
            ebpf,
        })
    }

    /// As [`super::Dataplane::log_events`].
    ///
    /// # Errors
    /// The events' map cannot be used.
    pub fn log_events(&mut self) -> Result<(), Error> {
        self.events = Some(Events::start(&mut self.ebpf, Arc::clone(&self.scopes))?);
        self.reader = Some(Reader::start(Arc::clone(&self.ring))?);
        Ok(())
    }

    /// Attaches natively, else generically with a warning that names the reason.
    ///
    /// # Errors
    /// Another program is there; no XDP at all.
    pub fn attach(&mut self, interface: &str) -> Result<XdpMode, Error> {
        attach::attach(self.program()?, interface)
    }

    /// The program, for test runs.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.ebpf, PROGRAM)
    }

    /// What the kernel says of the program.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn info(&mut self) -> Result<ProgramInfo, Error> {
        Ok(self.program()?.info()?)
    }

    /// Writes what differs from the plan applied last.
    ///
    /// # Errors
    /// A counter that could not be cleared; an interface that is gone.
    pub fn apply(&mut self, plan: &Plan) -> Result<Changes, Error> {
        self.clear_new_numbers(plan)?;
        for interface in plan.interfaces.values() {
            let place = u32::from(interface.port);
            self.ports.set(place, interface.index, None, 0).map_err(Error::device)?;
        }
        let changes = plan.write(self.block.get_mut());
        self.scopes.store(Arc::new(plan.scopes.iter().map(|(scope, &n)| (n, scope.to_string())).collect()));
        self.applied = Some(plan.clone());
        Ok(changes)
    }

    /// A new number must not begin with the counters of what it named before.
    fn clear_new_numbers(&mut self, plan: &Plan) -> Result<(), Error> {
        // New maps are all zero.
        let Some(running) = &self.applied else { return Ok(()) };
        let cpus = aya::util::nr_cpus().map_err(|(file, source)| Error::Cpus { file, source })?;
        let is_new = |number: &&u16| !running.scopes.values().any(|n| n == *number);
        for scope in plan.scopes.values().filter(is_new) {
            let number = u32::from(*scope);
            clear(&mut self.service_traffic, number, cpus, "SERVICE_TRAFFIC")?;
            for reason in 0..REASONS {
                clear(&mut self.drops, number * REASONS + reason, cpus, "DROPS")?;
            }
            ring::lock(&self.ring).forget(*scope);
        }
        Ok(())
    }

    /// What was counted since the program was loaded.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        let Some(plan) = &self.applied else { return Ok(Counters::default()) };
        let mut ring = ring::lock(&self.ring);
        ring.drain();
        let (services, instances) = (&self.service_traffic, &self.instance_traffic);
        counters::read(plan, services, instances, &self.drops, &ring, &self.answers, &self.steering)
    }

    /// How packets of moved buckets were settled; what never happened is left out.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn settlements(&self) -> Result<Settlements, Error> {
        let mut settlements = Settlements::new();
        for how in Settled::ALL {
            let counts = self.settled.get(&(how as u32), 0).map_err(Error::map("SETTLED_HERE"))?;
            settlements.insert(how, counts.iter().sum());
        }
        settlements.retain(|_, count| *count > 0);
        Ok(settlements)
    }
}
