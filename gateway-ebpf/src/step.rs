//! What the pipeline tells of its way, to whoever listens: `gateway explain`, on the host. In the kernel nobody does, and nothing of
//! it is computed.

use crate::{
    address::Flow,
    layout::{Bucket, Instance, Vip},
    note::Settled,
    steer::Segment,
};

/// A decision, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The packet is for this VIP.
    Vip(Vip),
    /// Who sent it may reach this service of the VIP.
    Service {
        /// Where it is counted, which says what it is.
        scope: u16,
        /// The flow that the packet belongs to.
        flow: Flow,
        /// Where the flow is in its life.
        segment: Segment,
    },
    /// It came to a port by which an instance's own flows leave.
    Leased {
        /// Whose port it is.
        owner: u16,
        /// The flow that the packet belongs to.
        flow: Flow,
    },
    /// The flow's hash leads to this bucket of the ring.
    Bucket {
        /// Its number.
        number: u32,
        /// Its word.
        bucket: Bucket,
    },
    /// The bucket is moved, and so it was found whose the flow is.
    Settled {
        /// The owner before, by the affinity before where that is being switched.
        previous: u16,
        /// By what.
        how: Settled,
    },
    /// A later fragment: it follows its datagram's first one.
    Fragment,
    /// Who gets it.
    Instance {
        /// By number.
        number: u16,
        /// How it is reached.
        entry: Instance,
    },
    /// An echo request that is answered here.
    Ping,
    /// The fast program leaves it to the slow one, which decides anew.
    Slow,
    /// An instance's reply, in nat mode: the reply program's.
    Reply,
}
