//! The state of a balancer as programs and people read it: `GET /v1/status`, `gateway status`, the source of the metrics.
//!
//! JSON is a contract (R92): fields are added, and none goes or changes its meaning without a new [`SCHEMA_VERSION`]. What
//! nobody knows yet is absent.

mod endpoint;
mod instance;
mod judge;
mod schema;
mod snat;
mod source;
mod time;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod testing;

use std::{collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    endpoint::{Certificate, Endpoint, FirstEnd},
    instance::{
        DataPath, Dip, Drain, Flows, Health, HealthWord, Instance, Override, ProbeResult, SlowStart, VipPath,
        WayWord,
    },
    schema::schema,
    snat::{Snat, SnatDestination, SnatVip},
    source::{Seen, address_table},
    time::Time,
};
use crate::{
    dataplane::{Counters, XdpMode},
    model::{Affinity, Forwarding, Mode, Side},
};

/// Of [`Status`]; grows when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// A balancer's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Of this structure: 1.
    pub schema_version: u32,
    /// The version of the program `gateway`.
    pub version: String,
    /// `service.name`.
    pub service: String,
    /// `service.mode`.
    pub mode: Mode,
    /// `balancer.forwarding`.
    pub forwarding: Forwarding,
    /// `balancer.affinity`.
    pub affinity: Affinity,
    /// In a word.
    pub state: State,
    /// Why it is not `serving`, one sentence each, with what mends it.
    pub trouble: Vec<String>,
    /// Since when this process runs.
    pub since: Time,
    /// The number of the configuration in force; grows by one with each apply that changes something.
    pub generation: u64,
    /// The file, and what became of it last.
    pub configuration: Configuration,
    /// What is loaded into the kernel.
    pub program: Program,
    /// The balancer's interfaces, the inner one first.
    pub interfaces: Vec<Interface>,
    /// The virtual addresses, private ones first.
    pub vips: Vec<Vip>,
    /// The public ones on which clients reach the service.
    #[serde(default, rename = "publicIPAddresses")]
    pub public_ip_addresses: Vec<IpAddr>,
    /// The private ones on which clients reach the service.
    #[serde(default, rename = "privateIPAddresses")]
    pub private_ip_addresses: Vec<IpAddr>,
    /// The host names by role.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Who sees which source address.
    #[serde(default)]
    pub address_table: Vec<Seen>,
    /// Those of the file in its order, then removed ones that are still drained.
    pub instances: Vec<Instance>,
    /// What is on its way from one owner to another.
    pub windows: Windows,
    /// What the kernel counted since the maps were made. Absent if it could not be read, which `trouble` has then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
}

/// In a word how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// No instance has answered a probe yet.
    #[serde(rename = "starting")]
    Starting,
    /// All is as it should be.
    #[serde(rename = "serving")]
    Serving,
    /// Clients are served, but something is wrong: `trouble` says what.
    #[serde(rename = "degraded")]
    Degraded,
    /// No new flow is served.
    #[serde(rename = "not serving")]
    NotServing,
}

impl State {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::NotServing => "not serving",
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Degraded, Self::NotServing];
}

/// The file, and what became of it last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// Its path.
    pub file: String,
    /// The last attempt to take it up. One that failed stays here until the next.
    pub last_apply: Apply,
}

/// An attempt to take up the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// What it asks for is so.
    pub ok: bool,
    /// The same in a word.
    pub outcome: Outcome,
    /// When it was.
    pub time: Time,
    /// Who asked: `start`, `SIGHUP`, or who called.
    pub by: String,
    /// Why it was not taken up; what was running before goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The file said what was so already.
    NothingToDo,
    /// In force; taken back if no instance is healthy any more within its window.
    Watched,
    /// In force.
    Applied,
    /// Not taken up.
    Refused,
    /// Taken back: what was before is in force again, for no instance was healthy any more.
    RolledBack,
}

impl Outcome {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::NothingToDo => "nothing to do",
            Self::Watched => "applied, watched",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::RolledBack => "rolled back",
        }
    }
}

/// The program that packets go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// The kernel's number of it, as `bpftool prog show id` takes it.
    pub id: u32,
    /// The kernel's hash of its instructions, 16 hexadecimal digits: another version has another one.
    pub tag: String,
}

/// An interface of the balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// `eth0`
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// Which VIPs are there: `both`, `inside` (private ones) or `outside` (public ones).
    pub side: Side,
    /// Where the program runs: `native` in the driver, `generic` in the stack, several times slower.
    pub xdp: XdpMode,
    /// Packets can pass: it is up, and so is the other end of its cable.
    pub carrier: bool,
    /// It is there. One that is gone is served again once an interface of its name is there.
    #[serde(default = "is_there")]
    pub present: bool,
}

/// What versions before this one did not say.
fn is_there() -> bool {
    true
}

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vip {
    /// `10.0.0.5`
    pub address: IpAddr,
    /// `private` or `public`.
    pub kind: VipKind,
    /// The interface that has it.
    pub interface: String,
    /// The TCP ports that are served.
    pub ports: Vec<u16>,
    /// The UDP ports: 53 where the instances answer DNS.
    #[serde(default)]
    pub udp_ports: Vec<u16>,
    /// Clients reach the service on it (R9).
    pub ready: bool,
    /// Why they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a VIP is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VipKind {
    /// From inside.
    Private,
    /// From everywhere.
    Public,
}

impl VipKind {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

/// What is on its way from one owner to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Windows {
    /// Buckets that changed hands, of 65,537, and may still have flows of an earlier owner.
    pub buckets: u32,
    /// How many of them are kept so by what, when that was last looked at: `living-flows`, `no-answer`, `recent`, `noted`,
    /// `affinity-switch`.
    #[serde(default)]
    pub waiting: BTreeMap<String, u32>,
    /// Flows of the affinity before are still served by it.
    pub affinity_switch: bool,
}
