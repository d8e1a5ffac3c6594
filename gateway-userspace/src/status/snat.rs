//! An instance's SNAT ports (R34).

use std::{collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// By which ports of the public VIPs an instance's own flows leave, as it tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snat {
    /// When it told.
    pub asked: Time,
    /// Its ports of each public VIP.
    pub vips: Vec<SnatVip>,
    /// Packets of flows that found no port, by reason, since its kernel's tables were made.
    pub failed: BTreeMap<String, u64>,
    /// Destinations for which none was free lately, and then those with the most flows; ten at most.
    pub top: Vec<SnatDestination>,
}

/// An instance's ports of one public VIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnatVip {
    /// `203.0.113.5`
    pub vip: IpAddr,
    /// Ports that it has.
    pub allocated: u32,
    /// Those with a flow.
    pub used: u32,
    /// Those with a flow to the destination that has the most: at `allocated` no flow begins there.
    pub busiest: u32,
}

/// Where an instance's flows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnatDestination {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// `198.51.100.7:443`; of `icmp` the address alone.
    pub destination: String,
    /// Flows there.
    pub flows: u32,
    /// Packets of flows there that found no port lately.
    pub failed: u64,
}
