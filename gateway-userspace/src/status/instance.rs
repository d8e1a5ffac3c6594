//! An instance's state.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Snat, Time};
use crate::model::AdminState;

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// `gw-1`
    pub name: String,
    /// Its own addresses, and whether packets get there.
    pub dips: Vec<Dip>,
    /// In the file. Absent: it is not in there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The weight of now, by probes, admin state and slow start; 0: no new flows.
    pub share: u16,
    /// What holds now. Absent: it is not in the file any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state: Option<AdminState>,
    /// The admin state was set at run time, in place of the file's.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
    /// What its probes say. Absent: it is not probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Connections through the VIP to it, made to see whether that way works. Absent: none are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_path: Option<DataPath>,
    /// Buckets that it owns, of 65,537.
    pub buckets: u32,
    /// The same in per cent.
    pub bucket_percent: f64,
    /// What it said of its living flows. Absent: it was not asked, or did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Flows>,
    /// By which ports its own flows to the outside leave. Absent: without SNAT, or it did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat: Option<Snat>,
    /// It is drained: it keeps its flows, and gets no new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// An instance's own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dip {
    /// `10.0.0.11`
    pub address: IpAddr,
    /// The next hop's MAC address is known, or it is this very host.
    pub resolved: bool,
    /// The state of the way to it, in a word.
    pub way: WayWord,
    /// Since when the next hop does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_since: Option<Time>,
    /// Whom packets to it are handed to: itself, or a router. Absent: there is no route, or it is this very host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// The next hop's, `02:00:00:00:00:01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// By which interface, where it is known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The largest packet that gets there, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

/// The state of the way to an instance's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WayWord {
    /// It is this very host's.
    Local,
    /// The next hop's MAC address is known.
    Resolved,
    /// It is being asked for.
    Resolving,
    /// The next hop does not answer. What is sent there goes to the MAC address that it had.
    Failed,
    /// No route leads there by an interface of the balancer. What is sent there goes the way it went.
    NoRoute,
}

/// An admin state that was set at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// The file's, which holds again once this one is taken back.
    pub file: AdminState,
}

/// What an instance's probes say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// In a word.
    pub state: HealthWord,
    /// Since when.
    pub since: Time,
    /// Why the last probe that failed did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Probes that succeeded, since this process runs.
    pub succeeded: u64,
    /// Probes that failed, since this process runs.
    pub failed: u64,
    /// How often the state changed, since this process runs.
    pub transitions: u64,
    /// Good answers in a row that it takes to be up again: more than `probe.rise` for an instance that went up and down.
    pub rise: u32,
    /// It returned, or was added while others served, and comes to its weight in steps. Absent: it has its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// The last probes, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ProbeResult>,
}

/// How far an instance has come to its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlowStart {
    /// From 1.
    pub step: u16,
    /// So many there are: its share is `step` of `steps` parts of its weight.
    pub steps: u16,
}

/// An instance's health in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthWord {
    /// Too few probes yet to say.
    Unknown,
    /// It answers as it should.
    Up,
    /// It answers, but not as it should.
    Down,
    /// Nobody answers at its address.
    Gone,
}

impl HealthWord {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Up, Self::Down, Self::Gone];
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeResult {
    /// When it was over.
    pub time: Time,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why it failed. Absent: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Connections through the VIP, in band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataPath {
    /// Connections tried, since this process runs.
    pub tried: u64,
    /// Those that came about.
    pub answered: u64,
    /// Why the last one that did not come about did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The same by VIP and port.
    #[serde(default)]
    pub vips: Vec<VipPath>,
}

/// Connections through one VIP to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VipPath {
    /// `10.0.0.5:443`
    pub vip: String,
    /// Connections tried, since this process runs.
    pub tried: u64,
    /// Those that came about.
    pub answered: u64,
    /// The share of the last ones, 64 at most, that came about: 0 to 1.
    pub recent: f64,
    /// How long the last one that came about took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why the last one that did not come about did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Living flows, as the instance itself counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flows {
    /// TCP connections to VIPs.
    pub living: u64,
    /// When it was asked.
    pub asked: Time,
}

/// A drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// When what is left is ended. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Time>,
}
