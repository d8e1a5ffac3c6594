//! The kernel's side of a plan: programs, maps, links. Knows nothing of policy.

mod attach;
mod counters;
mod error;
mod events;
mod grace;
mod held;
mod instance;
mod live;
mod loaded;
pub mod pins;
mod probe;
mod record;
mod refusal;
mod ring;
mod samples;
mod shared;
pub mod snat;

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use aya::programs::{ProgramInfo, SchedClassifier, Xdp};
use gateway_ebpf::{
    fragment,
    layout::{FRAGMENT_LINES, NOTE_LINES},
    note::{self, Note, Settled},
    tables::NoteLine,
};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

pub use self::{
    attach::XdpMode,
    counters::{Answers, Counters, Dropped, Forwarded},
    error::Error,
    instance::{Decapsulation, Settlements},
    live::{Live, live},
    probe::{Connections, Direction, Port},
    refusal::Refusal,
    ring::Shown,
};
use self::{loaded::Loaded, pins::Pins, shared::Shared};
use crate::plan::{Changes, Plan};

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway-ebpf.o"));

/// The program that is attached.
const PROGRAM: &str = "gateway";
/// Those that go on where it leaves off, in the order of the map `NEXT`.
const NEXT: [&str; 4] = ["gateway_slow", "gateway_finish", "gateway_reply", "gateway_sample"];

/// The loaded programs and their maps. Dropping it detaches.
pub struct Dataplane {
    loaded: Loaded,
    /// The transition table, in the kernel's own memory.
    notes: Shared<[NoteLine; NOTE_LINES as usize]>,
    /// Fragmented datagrams, likewise.
    fragments: Shared<[NoteLine; FRAGMENT_LINES as usize]>,
    /// Once something asked for it.
    connections: Option<Connections>,
    /// Their programs, while they are attached.
    probing: Vec<probe::Attached>,
}

impl Dataplane {
    /// Loads the programs; none is attached yet.
    ///
    /// # Errors
    /// No privileges, old kernel, refused by the verifier.
    pub fn load() -> Result<Self, Error> {
        Self::load_object(OBJECT, None)
    }

    /// Loads the programs with the maps that are pinned; what is not there is made and pinned. A program that is at work goes
    /// on; [`Self::attach`] puts this one in its place.
    ///
    /// # Errors
    /// As [`Self::load`]; tables of another layout.
    pub fn open(pins: Pins, object: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = object else { return Self::load_object(OBJECT, Some(pins)) };
        let read = fs::read(path);
        let object = read.map_err(|source| Error::Object { path: path.display().to_string(), source })?;
        Self::load_object(&object, Some(pins))
    }

    fn load_object(object: &[u8], pins: Option<Pins>) -> Result<Self, Error> {
        let mut loaded = Loaded::load(object, PROGRAM, (0..).zip(NEXT), &snat::MAPS, pins)?;
        let notes = Shared::map(loaded.array("TRANSITIONS")?)?;
        let fragments = Shared::map(loaded.array("FRAGMENTS")?)?;
        let dataplane = Self { loaded, notes, fragments, connections: None, probing: Vec::new() };
        if let Some((running, _)) = dataplane.running() {
            // The last process may have been killed before it did.
            dataplane.forget(running);
        }
        Ok(dataplane)
    }

    /// What a predecessor left running, and what it had saved for its successor.
    pub fn running(&self) -> Option<(&Plan, &Value)> {
        self.loaded.running()
    }

    /// What is attached now stays attached when this process ends, and nothing else. Before, what was made new is gone with
    /// this.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn settle(&mut self) -> Result<(), Error> {
        self.loaded.settle()
    }

    /// Detaches, and leaves nothing pinned.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn detach(self) -> Result<(), Error> {
        self.loaded.detach()
    }

    /// Forwards the programs' events, the first drop of each kind, to the log, and keeps the last ones they show. Needs to be
    /// called in a tokio runtime.
    ///
    /// # Errors
    /// The events' map cannot be used.
    pub fn log_events(&mut self) -> Result<(), Error> {
        self.loaded.log_events()
    }

    /// Attaches natively, else generically with a warning that names the reason.
    ///
    /// # Errors
    /// Another program is there; no XDP at all.
    pub fn attach(&mut self, interface: &str) -> Result<XdpMode, Error> {
        self.loaded.attach(interface)
    }

    /// An interface that the program was attached to is gone.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn lose(&mut self, interface: u32) -> Result<(), Error> {
        self.loaded.lose(interface)
    }

    /// The table of connections through the data path; their programs are loaded with it, and not attached yet.
    ///
    /// # Errors
    /// Refused by the verifier.
    pub fn connections(&mut self) -> Result<Connections, Error> {
        let connections = match self.connections.take() {
            Some(connections) => connections,
            None => probe::load(&mut self.loaded)?,
        };
        Ok(self.connections.insert(connections).clone())
    }

    /// Attaches the programs of [`Self::connections`] to these interfaces and no others; where that fails, to none.
    ///
    /// # Errors
    /// The kernel is too old for them.
    pub fn attach_probes<'i>(&mut self, interfaces: impl IntoIterator<Item = &'i str>) -> Result<(), Error> {
        self.probing.clear();
        for interface in interfaces {
            match probe::attach(&mut self.loaded, interface) {
                Ok(attached) => self.probing.extend(attached),
                Err(error) => {
                    self.probing.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether those programs are attached.
    pub fn has_probes(&self) -> bool {
        !self.probing.is_empty()
    }

    /// A program of [`Self::connections`], for test runs.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn classifier(&mut self, direction: Direction) -> Result<&mut SchedClassifier, Error> {
        self.loaded.classifier(direction)
    }

    /// The program that is attached, for test runs.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        self.loaded.program()
    }

    /// Every program with its name, the attached one first.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn programs(&mut self) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let names = std::iter::once(PROGRAM).chain(NEXT);
        names.map(|name| Ok((name, self.loaded.info(name)?))).collect()
    }

    /// Has packets go by the plan: by the one before or by this one, and by nothing in between. What is so already is not touched.
    ///
    /// # Errors
    /// A counter that could not be cleared.
    pub fn apply(&mut self, plan: &Plan) -> Result<Changes, Error> {
        self.apply_with(plan, &Value::Null)
    }

    /// And with the plan is saved what its owner has to know to go on with it.
    ///
    /// # Errors
    /// A counter that could not be cleared; too much to be saved.
    pub fn apply_with(&mut self, plan: &Plan, owner: &Value) -> Result<Changes, Error> {
        let changes = self.loaded.apply(plan, owner)?;
        // No packet of before is on its way that could store a note again.
        self.forget(plan);
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

    /// The trusted notes: whom they name, by the low 16 bits of their bucket. Of those that are `useless` the idle ones are
    /// taken out after they were read: a flow that none of its packets used, and that no instance has, is over.
    pub fn noted(&self, useless: impl Fn(u16, u16) -> bool) -> BTreeSet<(u16, u16)> {
        let epoch = note::epoch(now());
        let mut noted = BTreeSet::new();
        for word in self.notes.get().as_flattened() {
            let seen = word.load();
            let Some(bucket) = Note(seen).bucket() else { continue };
            let instance = Note(seen).instance();
            noted.insert((bucket, instance));
            if Note(seen).is_idle(epoch) && useless(bucket, instance) {
                // One that a packet uses at this very moment stays.
                word.replace(seen, 0);
            }
        }
        noted
    }

    /// How many packets of moved buckets were settled so.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn settled(&self, how: Settled) -> Result<u64, Error> {
        self.loaded.settled(how)
    }

    /// What was counted since the programs were loaded, with the names of the plan that is applied.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.loaded.counters()
    }
}

/// The programs' clock, in nanoseconds.
fn now() -> u64 {
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX)
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
        let error = match Dataplane::load_object(&broken, None) {
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
        let log = fs::read_to_string(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(log.contains("\nR9 !read_ok\n") && log.contains("processed "), "{log}");
    }
}
