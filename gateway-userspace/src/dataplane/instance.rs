//! The kernel's side of an instance: the program that takes packets out of the balancers' tunnels.

use std::collections::BTreeMap;

use aya::{
    maps::{MapData, PerCpuArray},
    programs::{ProgramInfo, Xdp},
};
use gateway_ebpf::decap::Settled;
use serde_json::Value;

use super::{Counters, Error, OBJECT, XdpMode, loaded::Loaded, pins::Pins};
use crate::plan::{Changes, Plan};

const PROGRAM: &str = "gateway_decap";
/// Maps of the balancer's programs.
const UNUSED: [&str; 5] = ["TRANSITIONS", "FRAGMENTS", "PROBES", "SNAT_FORWARD", "SNAT_REVERSE"];
/// Shows what is dropped, from this place in the map `NEXT`.
const SAMPLE: (u32, &str) = (3, "gateway_sample");

/// How often packets of moved buckets were settled in each way.
pub type Settlements = BTreeMap<Settled, u64>;

/// The loaded program and its maps. Dropping it detaches.
pub struct Decapsulation {
    loaded: Loaded,
    settled: PerCpuArray<MapData, u64>,
}

impl Decapsulation {
    /// Loads the program; it is not attached yet.
    ///
    /// # Errors
    /// No privileges, old kernel, refused by the verifier.
    pub fn load() -> Result<Self, Error> {
        Self::with(None)
    }

    /// As [`super::Dataplane::open`].
    ///
    /// # Errors
    /// As [`Self::load`]; tables of another layout.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        Self::with(Some(pins))
    }

    /// Goes on with the program that is at work, without the privileges to load one.
    ///
    /// # Errors
    /// Tables of another layout; pins that are not whole.
    pub fn inherit(pins: Pins) -> Result<Self, Error> {
        let loaded = Loaded::inherit(PROGRAM, pins)?;
        let settled = loaded.counter("SETTLED_HERE")?;
        Ok(Self { loaded, settled })
    }

    fn with(pins: Option<Pins>) -> Result<Self, Error> {
        let mut loaded = Loaded::load(OBJECT, PROGRAM, [SAMPLE], &UNUSED, pins)?;
        let settled = loaded.per_cpu("SETTLED_HERE")?;
        Ok(Self { loaded, settled })
    }

    /// What a predecessor left running.
    pub fn running(&self) -> Option<&Plan> {
        self.loaded.running().map(|(plan, _)| plan)
    }

    /// As [`super::Dataplane::settle`].
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn settle(&mut self) -> Result<(), Error> {
        self.loaded.settle()
    }

    /// As [`super::Dataplane::detach`].
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn detach(self) -> Result<(), Error> {
        self.loaded.detach()
    }

    /// As [`super::Dataplane::log_events`].
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

    /// The program, for test runs.
    ///
    /// # Errors
    /// None with the object of this build.
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        self.loaded.program()
    }

    /// What the kernel says of the program.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn info(&mut self) -> Result<ProgramInfo, Error> {
        self.loaded.info(PROGRAM)
    }

    /// As [`super::Dataplane::apply`].
    ///
    /// # Errors
    /// A counter that could not be cleared; an interface that is gone.
    pub fn apply(&mut self, plan: &Plan) -> Result<Changes, Error> {
        self.loaded.apply(plan, &Value::Null)
    }

    /// What was counted since the program was loaded.
    ///
    /// # Errors
    /// A map that could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.loaded.counters()
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
