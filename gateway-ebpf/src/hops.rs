//! The second chance: who else may have a flow whose bucket is moved, written into the packet (GUE's private data).
//!
//! Notes live in one balancer; where another one gets the flow, or a note was lost, the instances settle it among them: each
//! looks whether the flow is its own, and else hands it to the next hop. Hops are instances' ids, never addresses, so nobody
//! is made to reflect. The bucket's current owner comes last: there an unnoted flow most likely is if nobody before has it, and
//! the last hop keeps what it gets.

use crate::{
    finish::Job,
    headers::Hops,
    layout::{Block, Bucket, INSTANCES, OWNERS, STATE_GONE},
};

/// Bytes that a list takes in a packet.
pub const BYTES: u16 = size_of::<Hops>() as u16;

/// At most seven instances' ids, in order; scalars, since an array would go through the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HopList {
    /// How many.
    pub count: u8,
    /// Of the ring.
    pub generation: u32,
    hop0: u32,
    hop1: u32,
    hop2: u32,
    hop3: u32,
    hop4: u32,
    hop5: u32,
    hop6: u32,
}

impl HopList {
    /// One more, unless it is there or nobody.
    #[inline(always)]
    fn push(&mut self, id: u32, one: u64) {
        let is_known = (self.hop0 == id) | (self.hop1 == id) | (self.hop2 == id) | (self.hop3 == id);
        if id == 0 || is_known | (self.hop4 == id) | (self.hop5 == id) | (self.hop6 == id) {
            return;
        }
        match self.count {
            0 => self.hop0 = id,
            1 => self.hop1 = id,
            2 => self.hop2 = id,
            3 => self.hop3 = id,
            4 => self.hop4 = id,
            5 => self.hop5 = id,
            6 => self.hop6 = id,
            _ => return,
        }
        self.count = (u64::from(self.count + 1) * one) as u8;
    }

    /// One more, if it is somebody living beside the instance that the packet goes to.
    #[inline(always)]
    fn push_instance(&mut self, block: &Block, to: u16, number: u16, family: usize) {
        let entry = &block.instances[(u32::from(number) & (INSTANCES - 1)) as usize][family];
        if number != to && entry.state != STATE_GONE {
            self.push(entry.id, block.config.one);
        }
    }

    /// As it stands in the packet, nobody asked yet.
    #[inline(always)]
    pub const fn header(&self) -> Hops {
        Hops {
            next: 0,
            count: self.count,
            zero: 0,
            generation: self.generation.to_be(),
            hop0: self.hop0.to_be(),
            hop1: self.hop1.to_be(),
            hop2: self.hop2.to_be(),
            hop3: self.hop3.to_be(),
            hop4: self.hop4.to_be(),
            hop5: self.hop5.to_be(),
            hop6: self.hop6.to_be(),
        }
    }

    /// Bytes that it takes in the packet.
    #[inline(always)]
    pub const fn bytes(&self) -> usize {
        if self.count == 0 { 0 } else { BYTES as usize }
    }

    /// What the header's words add up to; 16 bits more fold into it as into any sum (RFC 1071 §2).
    #[inline(always)]
    pub const fn sum(&self) -> u64 {
        self.count as u64
            + self.generation as u64
            + self.hop0 as u64
            + self.hop1 as u64
            + self.hop2 as u64
            + self.hop3 as u64
            + self.hop4 as u64
            + self.hop5 as u64
            + self.hop6 as u64
    }
}

/// The window's other living owners, for a packet that goes to the job's instance first.
#[inline(always)]
pub fn list(block: &Block, job: &Job, family: usize) -> HopList {
    // Zeros that the verifier does not know: it would else walk on once for each number of hops, and for each one that is set.
    let none = (block.config.one - 1) as u32;
    let mut list = HopList {
        count: none as u8,
        generation: block.config.generation,
        hop0: none,
        hop1: none,
        hop2: none,
        hop3: none,
        hop4: none,
        hop5: none,
        hop6: none,
    };
    let (to, bucket, before) = (job.instance, job.bucket, job.bucket_before);
    let Some(&word) = block.ring.get(bucket as usize) else { return list };
    let current = Bucket(word).current();
    for window in [bucket, before] {
        let Some(&window) = block.windows.get(window as usize) else { return list };
        for place in 0..OWNERS {
            let number = window.owner(place);
            if number != current {
                list.push_instance(block, to, number, family);
            }
        }
        if before == bucket {
            break;
        }
    }
    list.push_instance(block, to, current, family);
    list
}
