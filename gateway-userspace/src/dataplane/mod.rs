//! The kernel's side of a plan: programs, maps, links. Knows nothing of policy.

mod attach;
mod counters;
mod error;
mod events;
mod shared;

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, MapData, PerCpuArray, PerCpuValues},
    programs::Xdp,
};
use gateway_ebpf::layout::{
    BUCKETS, Bucket, Config, INSTANCES, Instance, NOTE_LINES, NOTES, RING_WORDS, RINGS, Service, SourceSet,
    Traffic, Vip,
};

pub use self::{
    attach::XdpMode,
    counters::{Counters, Dropped, Forwarded},
    error::Error,
};
use self::{events::Events, shared::Shared};
use crate::plan::{Plan, RING};

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway-ebpf.o"));

/// The program's name in the object.
const PROGRAM: &str = "gateway";

/// The loaded program and its maps. Dropping it detaches.
pub struct Dataplane {
    ebpf: Ebpf,
    config: Array<MapData, Config>,
    vips: Array<MapData, Vip>,
    services: Array<MapData, Service>,
    sources: Array<MapData, SourceSet>,
    instances: Array<MapData, Instance>,
    service_traffic: PerCpuArray<MapData, Traffic>,
    instance_traffic: PerCpuArray<MapData, Traffic>,
    drops: PerCpuArray<MapData, u64>,
    /// The rings' words, in the kernel's own memory.
    buckets: Shared<u32>,
    /// The transition table, likewise.
    notes: Shared<u64>,
    applied: Option<Plan>,
    events: Option<Events>,
}

/// What an apply did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Buckets written.
    pub buckets: usize,
    /// All other table entries written.
    pub entries: usize,
}

impl Dataplane {
    /// Loads the program; it is not attached yet.
    ///
    /// # Errors
    /// No privileges, old kernel, refused by the verifier.
    pub fn load() -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(Error::load)?;
        let program: &mut Xdp = ebpf.program_mut(PROGRAM).ok_or(Error::NotInObject(PROGRAM))?.try_into()?;
        program.load().map_err(Error::verify)?;
        let buckets = take(&mut ebpf, "BUCKETS")?;
        let notes = take(&mut ebpf, "TRANSITIONS")?;
        Ok(Self {
            config: array(&mut ebpf, "CONFIG")?,
            vips: array(&mut ebpf, "VIPS")?,
            services: array(&mut ebpf, "SERVICES")?,
            sources: array(&mut ebpf, "SOURCES")?,
            instances: array(&mut ebpf, "INSTANCE")?,
            service_traffic: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
            instance_traffic: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
            drops: per_cpu(&mut ebpf, "DROPS")?,
            buckets: Shared::map(buckets, RING_WORDS * RINGS as usize)?,
            notes: Shared::map(notes, NOTES * NOTE_LINES as usize)?,
            applied: None,
            events: None,
            ebpf,
        })
    }

    /// Forwards the program's events, the first drop of each kind, to the log. Needs to be called in a tokio runtime.
    ///
    /// # Errors
    /// The events' map cannot be used.
    pub fn log_events(&mut self) -> Result<(), Error> {
        self.events = Some(Events::start(&mut self.ebpf)?);
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
        Ok(self.ebpf.program_mut(PROGRAM).ok_or(Error::NotInObject(PROGRAM))?.try_into()?)
    }

    /// Writes what differs from the plan applied last. What is referred to is written before what refers to it.
    ///
    /// # Errors
    /// A map that could not be written.
    pub fn apply(&mut self, plan: &Plan) -> Result<Changes, Error> {
        let before = self.applied.take();
        let before = before.as_ref();
        let mut entries = 0;
        entries += write(
            &mut self.sources,
            "SOURCES",
            numbered(&plan.sources),
            before.map(|p| numbered(&p.sources)),
        )?;
        // A new number must not begin with the counters of whom it named before.
        for &number in
            plan.instances.keys().filter(|number| before.is_none_or(|p| !p.instances.contains_key(number)))
        {
            self.clear_traffic(number)?;
        }
        entries += write(
            &mut self.instances,
            "INSTANCE",
            numbered(&plan.instances),
            before.map(|p| numbered(&p.instances)),
        )?;
        let buckets = self.write_buckets(&plan.ring);
        entries +=
            write(&mut self.services, "SERVICES", slots(&plan.services), before.map(|p| slots(&p.services)))?;
        entries += write(&mut self.vips, "VIPS", slots(&plan.vips), before.map(|p| slots(&p.vips)))?;
        if before.is_none_or(|p| p.config != plan.config) {
            self.config.set(0, plan.config, 0).map_err(Error::map("CONFIG"))?;
            entries += 1;
        }
        self.forget(plan);
        self.applied = Some(plan.clone());
        Ok(Changes { buckets, entries })
    }

    /// One store a bucket, so that no packet sees half a change.
    fn write_buckets(&self, ring: &[Bucket]) -> usize {
        let first = RING as usize * RING_WORDS;
        let mut changed = 0;
        for (i, word) in ring.iter().take(BUCKETS).enumerate() {
            if self.buckets.load(first + i) != word.0 {
                self.buckets.store(first + i, word.0);
                changed += 1;
            }
        }
        changed
    }

    /// Clears the notes that name instances which are no more, so that their numbers can be given away.
    fn forget(&self, plan: &Plan) {
        if plan.forget.is_empty() {
            return;
        }
        for i in 0..NOTES * NOTE_LINES as usize {
            let instance = gateway_ebpf::note::Note(self.notes.load(i)).instance();
            if plan.forget.contains(&instance) {
                self.notes.store(i, 0);
            }
        }
    }

    fn clear_traffic(&mut self, number: u16) -> Result<(), Error> {
        let cpus = aya::util::nr_cpus().map_err(|(file, source)| Error::Cpus { file, source })?;
        let zero = PerCpuValues::try_from(vec![Traffic::default(); cpus])
            .map_err(|source| Error::Cpus { file: "per-CPU values", source })?;
        self.instance_traffic.set(u32::from(number), zero, 0).map_err(Error::map("INSTANCE_TRAFFIC"))
    }

    /// What was counted since the program was loaded, with the names of the plan that is applied.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        match &self.applied {
            Some(plan) => counters::read(plan, &self.service_traffic, &self.instance_traffic, &self.drops),
            None => Ok(Counters::default()),
        }
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(aya::maps::Map::Array(data) | aya::maps::Map::PerCpuArray(data)) => Ok(data),
        _ => Err(Error::NotInObject(name)),
    }
}

fn array<V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, V>, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))?.try_into().map_err(Error::map(name))
}

fn per_cpu<V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))?.try_into().map_err(Error::map(name))
}

type Entries<V> = std::collections::BTreeMap<u32, V>;

fn numbered<V: Copy>(entries: &std::collections::BTreeMap<u16, V>) -> Entries<V> {
    entries.iter().map(|(&number, &value)| (u32::from(number), value)).collect()
}

fn slots<V: Copy>(entries: &Entries<V>) -> Entries<V> {
    entries.clone()
}

/// Writes what is new or changed, and clears what is no more. `before` is what the map holds.
fn write<V: Pod + Default + PartialEq>(
    map: &mut Array<MapData, V>,
    name: &'static str,
    now: Entries<V>,
    before: Option<Entries<V>>,
) -> Result<usize, Error> {
    let before = before.unwrap_or_default();
    let gone = before
        .keys()
        .filter(|key| !now.contains_key(key))
        .map(|&key| (key, V::default()))
        .collect::<Vec<_>>();
    let changed = now.into_iter().filter(|(key, value)| before.get(key) != Some(value));
    let mut written = 0;
    for (key, value) in changed.chain(gone) {
        map.set(key, value, 0).map_err(Error::map(name))?;
        written += 1;
    }
    Ok(written)
}

const _: () = assert!(INSTANCES < 1 << 15);
