//! The kernel's side of a plan: programs, maps, links. Knows nothing of policy.

mod attach;
mod counters;
mod error;
mod events;
mod instance;
mod refusal;
mod ring;
mod samples;
mod shared;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{DevMap, MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{ProgramInfo, Xdp},
};
use gateway_ebpf::{
    fragment,
    layout::{Block, FRAGMENT_LINES, NOTE_LINES, REASONS, Traffic},
    note::Note,
    tables::NoteLine,
};

pub use self::{
    attach::XdpMode,
    counters::{Answers, Counters, Dropped, Forwarded},
    error::Error,
    instance::{Decapsulation, Settlements},
    refusal::Refusal,
    ring::Shown,
};
use self::{
    events::{Events, ScopeNames},
    ring::{Reader, Ring},
    shared::Shared,
};
use crate::plan::{Changes, Plan};

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway-ebpf.o"));

/// The program that is attached.
const PROGRAM: &str = "gateway";
/// Those that go on where it leaves off, in the order of the map `NEXT`.
const NEXT: [&str; 4] = ["gateway_slow", "gateway_finish", "gateway_reply", "gateway_sample"];

/// The loaded program and its maps. Dropping it detaches.
pub struct Dataplane {
    ebpf: Ebpf,
    /// All tables but the next two, in the kernel's own memory.
    block: Shared<Block>,
    /// The transition table, likewise.
    notes: Shared<[NoteLine; NOTE_LINES as usize]>,
    /// Fragmented datagrams, likewise.
    fragments: Shared<[NoteLine; FRAGMENT_LINES as usize]>,
    /// The interfaces, for packets that leave by another than they came by.
    ports: DevMap<MapData>,
    /// Keeps what it names.
    _next: ProgramArray<MapData>,
    service_traffic: PerCpuArray<MapData, Traffic>,
    instance_traffic: PerCpuArray<MapData, Traffic>,
    drops: PerCpuArray<MapData, u64>,
    answers: PerCpuArray<MapData, u64>,
    settled: PerCpuArray<MapData, u64>,
    applied: Option<Plan>,
    /// For events.
    scopes: Arc<ScopeNames>,
    events: Option<Events>,
    /// Dropped packets, shared with their reader.
    ring: Arc<Mutex<Ring>>,
    reader: Option<Reader>,
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
        Self::load_object(OBJECT)
    }

    fn load_object(object: &[u8]) -> Result<Self, Error> {
        let mut ebpf = EbpfLoader::new().load(object).map_err(Error::load)?;
        program(&mut ebpf, PROGRAM)?.load().map_err(Error::verify)?;
        let next = ebpf.take_map("NEXT").ok_or(Error::NotInObject("NEXT"))?;
        let mut next: ProgramArray<MapData> = next.try_into().map_err(Error::map("NEXT"))?;
        for (place, name) in (0..).zip(NEXT) {
            let program = program(&mut ebpf, name)?;
            program.load().map_err(Error::verify)?;
            next.set(place, program.fd()?, 0).map_err(Error::map("NEXT"))?;
        }
        let ports = ebpf.take_map("PORTS").ok_or(Error::NotInObject("PORTS"))?;
        let ports = ports.try_into().map_err(Error::map("PORTS"))?;
        let ring = ebpf.take_map("SAMPLES").ok_or(Error::NotInObject("SAMPLES"))?;
        let ring = Ring::new(ring.try_into().map_err(Error::map("SAMPLES"))?);
        let block = Shared::map(take(&mut ebpf, "TABLES")?)?;
        let notes = Shared::map(take(&mut ebpf, "TRANSITIONS")?)?;
        let fragments = Shared::map(take(&mut ebpf, "FRAGMENTS")?)?;
        Ok(Self {
            block,
            notes,
            fragments,
            ports,
            _next: next,
            service_traffic: per_cpu(&mut ebpf, "SERVICE_TRAFFIC")?,
            instance_traffic: per_cpu(&mut ebpf, "INSTANCE_TRAFFIC")?,
            drops: per_cpu(&mut ebpf, "DROPS")?,
            answers: per_cpu(&mut ebpf, "ANSWERS")?,
            settled: per_cpu(&mut ebpf, "SETTLED")?,
            applied: None,
            scopes: Arc::default(),
            events: None,
            ring: Arc::new(Mutex::new(ring)),
            reader: None,
            ebpf,
        })
    }

    /// Forwards the program's events, the first drop of each kind, to the log, and keeps the last ones it shows. Needs to be called in a tokio runtime.
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

    /// Every program with its name, the attached one first.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn programs(&mut self) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let names = std::iter::once(PROGRAM).chain(NEXT);
        names.map(|name| Ok((name, program(&mut self.ebpf, name)?.info()?))).collect()
    }

    /// Writes what differs from the plan applied last.
    ///
    /// # Errors
    /// A counter that could not be cleared.
    pub fn apply(&mut self, plan: &Plan) -> Result<Changes, Error> {
        // A packet that was on its way when a note was cleared may have stored it again: once more, before its number is given
        // away, which a plan does one step later at the earliest.
        if let Some(running) = &self.applied {
            self.forget(running);
        }
        self.clear_new_numbers(plan)?;
        for interface in plan.interfaces.values() {
            let place = u32::from(interface.port);
            self.ports.set(place, interface.index, None, 0).map_err(Error::device)?;
        }
        let changes = plan.write(self.block.get_mut());
        self.forget(plan);
        self.scopes.store(Arc::new(plan.scopes.iter().map(|(scope, &n)| (n, scope.to_string())).collect()));
        self.applied = Some(plan.clone());
        Ok(changes)
    }

    /// Clears the notes that name instances which are no more, so that their numbers can be given away, and those of closed
    /// windows.
    fn forget(&self, plan: &Plan) {
        if plan.forget.is_empty() && plan.closed.is_empty() {
            return;
        }
        let closed: BTreeSet<u16> = plan.closed.iter().map(|&bucket| bucket as u16).collect();
        for word in self.notes.get().as_flattened() {
            let note = Note(word.load());
            let is_over = note.bucket().is_some_and(|bucket| closed.contains(&bucket));
            if is_over || plan.forget.contains(&note.instance()) {
                word.store(0);
            }
        }
        for word in self.fragments.get().as_flattened() {
            if plan.forget.contains(&fragment::Note(word.load()).instance()) {
                word.store(0);
            }
        }
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
        for number in instances {
            clear(&mut self.instance_traffic, u32::from(number), cpus, "INSTANCE_TRAFFIC")?;
        }
        for number in scopes.iter().copied().map(u32::from) {
            clear(&mut self.service_traffic, number, cpus, "SERVICE_TRAFFIC")?;
            for reason in 0..REASONS {
                clear(&mut self.drops, number * REASONS + reason, cpus, "DROPS")?;
            }
        }
        let mut ring = ring::lock(&self.ring);
        scopes.into_iter().for_each(|scope| ring.forget(scope));
        Ok(())
    }

    /// What was counted since the program was loaded, with the names of the plan that is applied.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        let Some(plan) = &self.applied else { return Ok(Counters::default()) };
        let mut ring = ring::lock(&self.ring);
        ring.drain();
        counters::read(
            plan,
            &self.service_traffic,
            &self.instance_traffic,
            &self.drops,
            &ring,
            &self.answers,
            &self.settled,
        )
    }
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

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(aya::maps::Map::Array(data)) => Ok(data),
        _ => Err(Error::NotInObject(name)),
    }
}

fn per_cpu<V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    ebpf.take_map(name).ok_or(Error::NotInObject(name))?.try_into().map_err(Error::map(name))
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _};

    use super::*;

    /// `r0 = *(u64 *)(r9 + 0)`, while r9 was never written.
    const UNVERIFIABLE: [u8; 8] = [0x79, 0x90, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_refusal_has_the_telling_line_and_a_file_but_not_the_log() {
        let mut broken = OBJECT.to_vec();
        let file = object::File::parse(OBJECT).unwrap();
        let (offset, _) = file.section_by_name("xdp").unwrap().file_range().unwrap();
        broken[offset as usize..][..8].copy_from_slice(&UNVERIFIABLE);
        let error = match Dataplane::load_object(&broken) {
            Ok(_) => panic!("loaded"),
            Err(Error::Permission(why)) if std::env::var_os("CI").is_none() => {
                return eprintln!("SKIPPED: a program cannot be loaded ({why}); run as root");
            }
            Err(error) => error,
        };
        let shown = format!("{:#}", anyhow::Error::new(error));
        let (before, rest) = shown.split_once(" (all it said is in ").unwrap();
        assert_eq!(before, "the kernel's verifier refused the program: R9 !read_ok");
        let (path, after) = rest.split_once("); ").unwrap();
        assert!(after.starts_with("it needs Linux 6.1") && !after.contains('\n'), "{after}");
        let log = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(log.contains("\nR9 !read_ok\n") && log.contains("processed "), "{log}");
    }
}
