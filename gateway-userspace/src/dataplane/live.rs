//! The tables of a program at work, as another process sees them: copied, and nothing is changed or locked.

use std::{path::Path, time::Duration};

use aya::maps::{MapData, MapInfo};
use gateway_ebpf::{
    host::HostTables,
    layout::{Blocks, FRAGMENT_LINES, LAYOUT, NOTE_LINES},
    tables::NoteLine,
};

use super::{
    Error, now,
    pins::{self, Piece},
    record::Record,
    shared::Shared,
};
use crate::plan::Plan;

/// A copy is torn if the owner writes meanwhile; it does so a few times a second at most.
const ATTEMPTS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(5);

/// What packets go by.
pub struct Live {
    /// The tables and the notes of flows, for the pipeline on the host.
    pub tables: HostTables,
    /// The same as a plan, with the names of its numbers.
    pub plan: Plan,
}

/// What the balancer's program of a service goes by here; none: no program is at work.
///
/// # Errors
/// No permission; tables of another version.
pub fn live(service: &str) -> Result<Option<Live>, Error> {
    let Some(folder) = pins::at_work(service, Piece::Balancer)? else { return Ok(None) };
    let shared: Shared<Blocks> = open(&folder, "TABLES")?;
    if shared.get().layout != LAYOUT {
        return Err(Error::Layout { folder: folder.display().to_string() });
    }
    let mut tables = HostTables::default();
    for _ in 0..ATTEMPTS {
        if shared.copy_active(&mut tables.block) {
            break;
        }
        std::thread::sleep(BETWEEN);
    }
    let names = Record::read(&tables.block)?.names;
    let plan = Plan::read(&tables.block, names);
    // Nobody looks at the notes of flows while no bucket is moved.
    if plan.ring.iter().any(|bucket| bucket.is_moved()) {
        copy(&tables.notes, open::<[NoteLine; NOTE_LINES as usize]>(&folder, "TRANSITIONS")?.get());
    }
    copy(&tables.fragments, open::<[NoteLine; FRAGMENT_LINES as usize]>(&folder, "FRAGMENTS")?.get());
    tables.now = now();
    Ok(Some(Live { tables, plan }))
}

/// A map of one value, or of all values as one.
fn open<T>(folder: &Path, name: &'static str) -> Result<Shared<T>, Error> {
    let path = folder.join(name);
    let info = MapInfo::from_pin(&path).map_err(Error::map(name))?;
    if info.value_size() as usize * info.max_entries() as usize != size_of::<T>() {
        return Err(Error::Layout { folder: folder.display().to_string() });
    }
    Shared::look(MapData::from_pin(&path).map_err(Error::map(name))?)
}

fn copy(lines: &[NoteLine], live: &[NoteLine]) {
    for (own, live) in lines.as_flattened().iter().zip(live.as_flattened()) {
        own.store(live.load());
    }
}
