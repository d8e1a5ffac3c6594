//! The programs that give the host's own probes of a VIP the way of clients' packets, and the table of such connections.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    maps::{Array, MapData},
    programs::{
        LinkOrder, TcAttachType,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};
use gateway_ebpf::layout::{PROBE_PORT, PROBES, Probe};

use super::{Error, loaded::Loaded};

/// The kernel in which programs of TC are attached by links, which go with the process (TCX).
pub(super) const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

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
    Ok(Connections::new(map.try_into().map_err(Error::map("PROBES"))?))
}

/// Attaches both to an interface. They go with the process, or with what this gives.
pub(super) fn attach(loaded: &mut Loaded, interface: &str) -> Result<Vec<Attached>, Error> {
    if KernelVersion::current().is_ok_and(|running| running < TCX) {
        return Err(Error::NoTcx);
    }
    let failed = |source| Error::AttachTc { interface: interface.to_owned(), source: Box::new(source) };
    let mut attached = Vec::new();
    for direction in Direction::ALL {
        let (to, order) = direction.attachment();
        let program = loaded.classifier(direction)?;
        let id =
            program.attach_with_options(interface, to, TcAttachOptions::TcxOrder(order)).map_err(failed)?;
        attached.push(Attached(program.take_link(id).map_err(failed)?));
    }
    Ok(attached)
}

/// A program at an interface, until this is dropped.
pub(super) struct Attached(#[expect(dead_code, reason = "it detaches by Drop")] SchedClassifierLink);

/// The table of connections through the data path. Clones share it.
#[derive(Clone)]
pub struct Connections(Arc<Mutex<Table>>);

struct Table {
    map: Array<MapData, Probe>,
    ports: Ports,
}

/// Which of [`PROBES`] ports are in use, by number less [`PROBE_PORT`].
struct Ports {
    taken: BTreeSet<u32>,
    /// Where to look first: one after the other, so that a port rests before it is used again.
    next: u32,
}

impl Ports {
    fn take_any(&mut self) -> Option<u32> {
        let free = (0..PROBES)
            .map(|more| self.next.wrapping_add(more) % PROBES)
            .find(|slot| !self.taken.contains(slot))?;
        self.next = free + 1;
        self.taken.insert(free);
        Some(free)
    }
}

impl Connections {
    fn new(map: Array<MapData, Probe>) -> Self {
        // Somewhere: an instance may still have the connections of a process that ran before.
        let next = RandomState::new().hash_one(()) as u32 % PROBES;
        Self(Arc::new(Mutex::new(Table { map, ports: Ports { taken: BTreeSet::new(), next } })))
    }

    /// A port to connect from; none if all are in use.
    pub fn port(&self) -> Option<Port> {
        let slot = self.lock().ports.take_any()?;
        Some(Port { connections: self.clone(), slot, is_entered: false })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Connections {
    /// The same table.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A port of this host that nobody else connects through the data path from. Dropped, it is free, and strangers' packets from it are
/// not touched.
#[derive(Debug)]
pub struct Port {
    connections: Connections,
    slot: u32,
    is_entered: bool,
}

impl Port {
    /// Its number.
    pub fn number(&self) -> u16 {
        // Below 65,536: `PROBE_PORT` and `PROBES` add up to that.
        (u32::from(PROBE_PORT) + self.slot) as u16
    }

    /// From here on packets of this connection are rewritten.
    ///
    /// # Errors
    /// The table could not be written.
    pub fn enter(&mut self, probe: Probe) -> Result<(), Error> {
        self.set(Probe { source_port: self.number(), ..probe })?;
        self.is_entered = true;
        Ok(())
    }

    fn set(&self, probe: Probe) -> Result<(), Error> {
        self.connections.lock().map.set(self.slot, probe, 0).map_err(Error::map("PROBES"))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if self.is_entered
            && let Err(error) = self.set(Probe::default())
        {
            log::warn!(
                "a probe's connection stays in the kernel's table until its port is used again: {error}"
            );
        }
        self.connections.lock().ports.taken.remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_rests_before_it_is_used_again() {
        let mut ports = Ports { taken: BTreeSet::new(), next: PROBES - 1 };
        assert_eq!(ports.take_any(), Some(PROBES - 1));
        assert_eq!(ports.take_any(), Some(0));
        ports.taken.remove(&0);
        let rest: BTreeSet<_> = std::iter::from_fn(|| ports.take_any()).collect();
        assert_eq!(rest.len() as u32, PROBES - 1, "all but the one that is still in use");
        assert_eq!(ports.take_any(), None);
    }
}
