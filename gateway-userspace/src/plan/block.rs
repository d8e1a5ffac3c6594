//! The plan as the kernel's tables: the same writing for the map's memory and for the host's.

use std::collections::BTreeMap;

use gateway_ebpf::{
    host::HostTables,
    layout::{Block, Instance, Window},
};

use super::Plan;

/// What writing a plan changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Buckets written.
    pub buckets: usize,
    /// All other table entries written.
    pub entries: usize,
}

impl Plan {
    /// Makes `block` what the plan says; what is so already is not touched. What is referred to is written before what
    /// refers to it, and cleared after it, for packets pass meanwhile.
    pub fn write(&self, block: &mut Block) -> Changes {
        let mut entries = 0;
        for (&number, &set) in &self.sources {
            entries += put(&mut block.sources[usize::from(number)], set);
        }
        for (&number, &instance) in &self.instances {
            entries += put(&mut block.instances[usize::from(number)], instance);
        }
        entries += put_slots(&mut block.interfaces, &self.interfaces);
        entries += put_planned(&mut block.replies, &self.replies);
        entries += put_planned(&mut block.peers, &self.peers);
        entries += put_planned(&mut block.hops, &self.hops);
        // A packet of a moved bucket finds the window; one that was closed is cleared once no word leads to it.
        let windows = |open: bool| {
            let planned = self.windows.iter().enumerate();
            planned.filter(move |(_, window)| (**window != Window::default()) == open)
        };
        for (bucket, &window) in windows(true) {
            entries += put(&mut block.windows[bucket], window);
        }
        let buckets = block.ring.iter_mut().zip(&self.ring).map(|(place, bucket)| put(place, bucket.0)).sum();
        for (bucket, &window) in windows(false) {
            entries += put(&mut block.windows[bucket], window);
        }
        entries += put_slots(&mut block.services, &self.services);
        entries += put_slots(&mut block.vips, &self.vips);
        entries += put_slots(&mut block.replies, &self.replies);
        entries += put_slots(&mut block.peers, &self.peers);
        entries += put_slots(&mut block.hops, &self.hops);
        entries += put(&mut block.config, self.config);
        for (number, place) in (0..).zip(&mut block.instances) {
            if !self.instances.contains_key(&number) {
                entries += put(place, [Instance::default(); 2]);
            }
        }
        Changes { buckets, entries }
    }
}

/// What the plan names, and no other slot.
fn put_planned<T: Copy + PartialEq>(table: &mut [T], entries: &BTreeMap<u32, T>) -> usize {
    entries.iter().map(|(&slot, &entry)| put(&mut table[slot as usize], entry)).sum()
}

/// A whole table: slots that the plan does not name are empty.
fn put_slots<T: Copy + PartialEq + Default>(table: &mut [T], entries: &BTreeMap<u32, T>) -> usize {
    (0..).zip(table).map(|(slot, place)| put(place, entries.get(&slot).copied().unwrap_or_default())).sum()
}

/// 1 if the place had to be written. A word is one store, so a packet sees the old bucket or the new one.
fn put<T: Copy + PartialEq>(place: &mut T, value: T) -> usize {
    if *place == value {
        return 0;
    }
    // SAFETY: from a reference. Volatile, because the kernel reads it behind the compiler's back.
    unsafe { std::ptr::from_mut(place).write_volatile(value) };
    1
}

impl From<&Plan> for HostTables {
    fn from(plan: &Plan) -> Self {
        let mut tables = Self::default();
        plan.write(&mut tables.block);
        tables.interface =
            plan.interfaces.values().map(|interface| interface.index).next().unwrap_or_default();
        tables
    }
}
