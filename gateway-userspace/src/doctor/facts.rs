//! What is known of this host and of what it reaches. Data only: `gather` makes it, checks read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::{
    config::Certified, dns::check::Report as Names, explain::Explanation, model::Model, net::link::Link,
    plan::Mac, status::Status,
};

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is so.
    Seen(T),
    /// It could not be seen, for this reason.
    Unseen(String),
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self::Unseen("it was not looked at".into())
    }
}

impl<T, E: fmt::Display> From<Result<T, E>> for Seen<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Seen(value),
            Err(error) => Self::Unseen(format!("{error:#}")),
        }
    }
}

/// A part that a host has in the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `gateway balance` runs here, or is to.
    Balancer,
    /// `gateway proxy` runs here, or is to.
    Instance,
    /// Neither.
    Client,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Balancer => "balancer",
            Self::Instance => "instance",
            Self::Client => "client",
        })
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Facts {
    /// What this host is.
    pub place: BTreeSet<Place>,
    /// The file, or its faults.
    pub file: Seen<Configured>,
    /// The host itself.
    pub host: Host,
    /// The interface of each side of the balancer, in the file's order, as it is.
    pub interfaces: Seen<Vec<Interface>>,
    /// Interfaces that let packets for a VIP in past the program.
    pub other_ways_in: Seen<Vec<String>>,
    /// The running balancer; none: no process.
    pub status: Seen<Option<Status>>,
    /// Addresses of this host, and the interfaces that have them.
    pub addresses: Seen<BTreeMap<IpAddr, BTreeSet<String>>>,
    /// Veths by which packets to the VIPs leave, or answers to the balancer, with checksums that are left to a card.
    pub unfinished: BTreeSet<String>,
    /// VIPs and DIPs that are on a link of this host: who else claims them there.
    pub claimed: Seen<BTreeMap<IpAddr, Claim>>,
    /// What resolvers say.
    pub names: Seen<Names>,
    /// What becomes of a client's SYN to the management port, or of a connection there.
    pub management: Vec<Door>,
    /// From an instance, the ways back to clients.
    pub ways_back: Seen<Vec<WayBack>>,
    /// From the balancer, the ways to instances.
    pub paths: Seen<Vec<Path>>,
    /// How far instances' clocks are ahead of this host's, in seconds.
    pub clocks: Seen<BTreeMap<String, i64>>,
    /// Who else listens where an instance is to.
    pub listeners: Seen<Vec<Listener>>,
}

/// The file, and its certificates.
#[derive(Debug)]
pub struct Configured {
    /// Its path.
    pub path: String,
    /// What it says.
    pub model: Model,
    /// The certificates that it names.
    pub certified: Certified,
    /// Seconds since 1970.
    pub now: i64,
}

/// The host itself.
#[derive(Debug, Default)]
pub struct Host {
    /// As in `uname -r`.
    pub kernel: Seen<(u32, u32)>,
    /// Capabilities that are missing.
    pub missing: Seen<Vec<String>>,
    /// A bpffs is at /sys/fs/bpf.
    pub has_bpffs: Seen<bool>,
    /// BPF programs are compiled.
    pub has_jit: Seen<bool>,
    /// The most descriptors that a process may be given.
    pub descriptors: Seen<u64>,
}

/// An interface of the balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// As the file names it.
    pub name: String,
    /// It is there.
    pub link: Option<Link>,
    /// `veth`, `virtio_net`
    pub driver: Seen<String>,
    /// Programs of XDP on it that are not ours: number and name.
    pub foreign: Vec<String>,
    /// What became of frames that the program sent out of it; only veth counts them.
    pub sent: Option<Sent>,
}

/// Frames that a program sent back out of the interface by which they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Taken by the other end while it was looked at.
    pub taken: u64,
    /// Lost while it was looked at.
    pub lost: u64,
    /// Lost before, since the interface is there.
    pub lost_before: u64,
}

/// Who answers for an address on a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The interface that leads there.
    pub interface: String,
    /// It is this host's too.
    pub is_own: bool,
    /// Others that have answered.
    pub others: BTreeSet<Mac>,
}

/// A door of the service, tried.
#[derive(Debug, Clone)]
pub struct Door {
    /// A VIP and a port.
    pub at: SocketAddr,
    /// From where.
    pub from: String,
    /// What came of it.
    pub tried: Seen<Tried>,
}

/// How a door was tried.
#[derive(Debug, Clone)]
pub enum Tried {
    /// By the balancer's own tables.
    Explained(Box<Explanation>),
    /// By a connection.
    Connected,
    /// By a connection that was refused, here or elsewhere.
    Failed(String),
    /// By a connection that nobody answered.
    Silent,
}

/// The way back to clients of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// Whose clients.
    pub network: IpNet,
    /// The one of them that was asked for.
    pub sample: IpAddr,
    /// By which interface their packets come.
    pub comes_by: String,
    /// By which one answers leave; none: there is no route.
    pub leaves_by: Option<String>,
    /// `rp_filter` where they come: 1 drops what would not be answered by the same interface.
    pub is_strict: bool,
}

/// The way to an instance's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Whose.
    pub instance: String,
    /// The address.
    pub dip: IpAddr,
    /// The interface that leads there.
    pub interface: String,
    /// What routes and interfaces take, in bytes.
    pub mtu: u32,
    /// What is put around a packet.
    pub overhead: u32,
    /// A small ping is answered, and one of `mtu` bytes that may not be cut.
    pub pings: Seen<[bool; 2]>,
}

/// Somebody who listens where the proxy is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub at: SocketAddr,
    /// The process, as far as it can be told.
    pub process: String,
}
