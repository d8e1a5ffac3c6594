//! A successor that may load no programs goes on with those that are at work, by their pins ([`super::super::loaded`] does the same).

use std::collections::BTreeSet;

use aya::maps::{Map, MapData, MapError};
use gateway_ebpf::snat::layout::{Halves, LAYOUT};

use super::{Flows, Idle, Snat};
use crate::dataplane::{Error, pins::Pins, shared::Shared};

impl Snat {
    /// Goes on with the programs that are at work, without the privileges to load any.
    ///
    /// # Errors
    /// Tables of another layout; pins that are not whole.
    pub fn inherit(mut pins: Pins) -> Result<Self, Error> {
        let program = pins.inherit()?;
        log::info!("going on with program {program}, which is at work: this process may load none");
        let table: Shared<Halves> = Shared::map(data(&pins, "SNAT_TABLE")?)?;
        if table.get().layout != LAYOUT {
            return Err(pins.layout());
        }
        Ok(Self {
            table,
            forward: Flows::new(data(&pins, "SNAT_FORWARD")?, "SNAT_FORWARD"),
            reverse: Flows::new(data(&pins, "SNAT_REVERSE")?, "SNAT_REVERSE"),
            counts: typed(Map::PerCpuArray(data(&pins, "SNAT_COUNTS")?), "SNAT_COUNTS")?,
            drops: typed(Map::PerCpuArray(data(&pins, "SNAT_DROPS")?), "SNAT_DROPS")?,
            exhausted: typed(Map::LruHashMap(data(&pins, "SNAT_EXHAUSTED")?), "SNAT_EXHAUSTED")?,
            idle: Idle::default(),
            sweeps: 0,
            pins: Some(pins),
            pinned: BTreeSet::new(),
            _next: None,
            links: Vec::new(),
            ebpf: None,
        })
    }
}

fn data(pins: &Pins, name: &'static str) -> Result<MapData, Error> {
    MapData::from_pin(pins.path(name)).map_err(Error::map(name))
}

fn typed<M: TryFrom<Map, Error = MapError>>(map: Map, name: &'static str) -> Result<M, Error> {
    map.try_into().map_err(Error::map(name))
}
