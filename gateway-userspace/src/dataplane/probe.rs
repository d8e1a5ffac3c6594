//! The programs that give the host's own probes of a VIP the way of clients' packets, and the table of such connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::{
    maps::{Array, MapData},
    programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions},
    util::KernelVersion,
};
use gateway_ebpf::layout::{PROBE_PORT, Probe};

use super::{Error, loaded::Loaded};

/// The kernel in which programs of TC are attached by links, which go with the process (TCX).
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// Which way a program looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// At what comes to the host.
    Arrive,
    /// At what leaves it.
    Leave,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Arrive, Self::Leave];

    /// What it is called.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Arrive => "gateway_arrive",
            Self::Leave => "gateway_leave",
        }
    }

    /// Next to the link, so that others see a packet as the host's stack does.
    fn attachment(self) -> (TcAttachType, LinkOrder) {
        match self {
            Self::Arrive => (TcAttachType::Ingress, LinkOrder::first()),
            Self::Leave => (TcAttachType::Egress, LinkOrder::last()),
        }
    }
}

/// Loads both programs and gives the table.
pub(super) fn load(loaded: &mut Loaded) -> Result<Connections, Error> {
    let map = loaded.take("PROBES")?;
    for direction in Direction::ALL {
        loaded.classifier(direction)?.load().map_err(Error::verify)?;
    }
    Ok(Connections(Arc::new(Mutex::new(map.try_into().map_err(Error::map("PROBES"))?))))
}

/// Attaches both to an interface, until the process ends.
pub(super) fn attach(loaded: &mut Loaded, interface: &str) -> Result<(), Error> {
    if KernelVersion::current().is_ok_and(|running| running < TCX) {
        return Err(Error::NoTcx);
    }
    for direction in Direction::ALL {
        let (to, order) = direction.attachment();
        let program: &mut SchedClassifier = loaded.classifier(direction)?;
        program.attach_with_options(interface, to, TcAttachOptions::TcxOrder(order)).map_err(|source| {
            Error::AttachTc { interface: interface.to_owned(), source: Box::new(source) }
        })?;
    }
    Ok(())
}

/// The table of connections through the data path. Clones share it.
#[derive(Clone)]
pub struct Connections(Arc<Mutex<Array<MapData, Probe>>>);

impl Connections {
    /// From here on packets of this connection are rewritten, until what this gives is dropped.
    ///
    /// # Errors
    /// The table could not be written.
    pub fn enter(&self, probe: Probe) -> Result<Entered, Error> {
        let slot = u32::from(probe.source_port.saturating_sub(PROBE_PORT));
        self.set(slot, probe)?;
        Ok(Entered { connections: self.clone(), slot })
    }

    fn set(&self, slot: u32, probe: Probe) -> Result<(), Error> {
        self.lock().set(slot, probe, 0).map_err(Error::map("PROBES"))
    }

    fn lock(&self) -> MutexGuard<'_, Array<MapData, Probe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the table.
pub struct Entered {
    connections: Connections,
    slot: u32,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Err(error) = self.connections.set(self.slot, Probe::default()) {
            log::warn!(
                "a probe's connection stays in the kernel's table until its port is used again: {error}"
            );
        }
    }
}
