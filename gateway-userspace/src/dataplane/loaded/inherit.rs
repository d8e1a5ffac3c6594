//! A successor that may load no program, since its predecessor gave that up, goes on with the one that is at work: by the pins,
//! which need their owner and no capability.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use aya::{
    Pod,
    maps::{Map, MapData, PerCpuArray},
};

use super::{
    super::{
        Error, XdpMode,
        counters::CounterMaps,
        pins::{Hook, Pins},
        ring::Ring,
        shared::Shared,
    },
    Loaded, index, running,
};

impl Loaded {
    /// The program `main` that is at work, with its tables. What it shows of dropped packets nobody reads from here on.
    pub(in crate::dataplane) fn inherit(main: &'static str, mut pins: Pins) -> Result<Self, Error> {
        let program = pins.inherit()?;
        log::info!("going on with program {program}, which is at work: this process may load none");
        let blocks = Shared::map(pinned(&pins, "TABLES")?)?;
        let (plan, record) = running(&blocks, &pins)?;
        Ok(Self {
            ebpf: None,
            main,
            blocks,
            ports: None,
            _next: None,
            counters: CounterMaps {
                services: counter(&pins, "SERVICE_TRAFFIC")?,
                instances: counter(&pins, "INSTANCE_TRAFFIC")?,
                drops: counter(&pins, "DROPS")?,
                balancer: None,
            },
            applied: Some(plan),
            record: Some(record),
            is_attached: true,
            pins: Some(pins),
            links: BTreeSet::new(),
            scopes: Arc::default(),
            events: None,
            ring: Arc::new(Mutex::new(Ring::new(None))),
            reader: None,
        })
    }

    /// A map of its owner's besides.
    pub(in crate::dataplane) fn counter<V: Pod>(
        &self,
        name: &'static str,
    ) -> Result<PerCpuArray<MapData, V>, Error> {
        counter(self.pins.as_ref().ok_or(Error::Inherit)?, name)
    }

    /// How the program that is gone on with is attached.
    pub(super) fn inherited(&mut self, interface: &str) -> Result<XdpMode, Error> {
        let index = index(interface)?;
        let link =
            self.pins.as_ref().and_then(|pins| pins.links.get(&(index, Hook::Xdp))).ok_or(Error::Inherit)?;
        self.links.insert(index);
        Ok(link.mode)
    }
}

fn pinned(pins: &Pins, name: &'static str) -> Result<MapData, Error> {
    MapData::from_pin(pins.path(name)).map_err(Error::map(name))
}

fn counter<V: Pod>(pins: &Pins, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    Map::PerCpuArray(pinned(pins, name)?).try_into().map_err(Error::map(name))
}
