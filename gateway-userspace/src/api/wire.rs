//! Bodies of requests and answers. No field vanishes, and none changes its meaning without another `schema_version` (R92).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::AdminState;

/// Of every answer here.
pub const SCHEMA: u32 = 1;

/// Anything but 2xx.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// 1
    pub schema_version: u32,
    /// What is wrong, and what to do about it.
    pub error: String,
    /// The faults of a file, as `gateway check --json` gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
}

/// Whether this balancer should get packets: `200` or `503`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// 1
    pub schema_version: u32,
    /// It has its VIPs on interfaces that are up, its tables are what they should be, and somebody takes new flows.
    pub healthy: bool,
}

/// What `apply` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Apply {
    /// Keep the new state whatever becomes of the instances.
    pub confirm: bool,
    /// How long the new state is watched, in seconds; 30 where it is absent, 3,600 at most.
    pub window: Option<u32>,
    /// The file that is meant; refused where the balancer runs with another one. Absent: the balancer's own.
    pub file: Option<String>,
}

/// What `apply` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// 1
    pub schema_version: u32,
    /// False: the file says what is so already, and nothing was touched.
    pub changed: bool,
    /// The configuration in force.
    pub generation: u64,
    /// Seconds for which it may be rolled back; absent where it is not watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// From reading the file to the last table entry written, in microseconds.
    pub microseconds: u64,
    /// Buckets of the ring that were written.
    pub buckets: usize,
    /// Other table entries that were written.
    pub entries: usize,
}

/// An admin state to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetState {
    /// `up`, `down` or `auto`.
    pub admin_state: AdminState,
}

/// An instance's admin state as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceState {
    /// 1
    pub schema_version: u32,
    /// Which.
    pub name: String,
    /// What holds.
    pub admin_state: AdminState,
    /// What the file says.
    pub configured: AdminState,
    /// It was set at run time, in place of the file's.
    pub overridden: bool,
    /// Seconds until its flows are ended; absent where it does not drain, or for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_ends_in: Option<u64>,
    /// Its living flows; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u64>,
}
