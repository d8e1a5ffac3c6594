//! What a balancer and an instance say to each other: `POST /snat` at the probe's port, JSON.
//!
//! Fields may be added: who does not know one leaves it out.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::blocks::Blocks;

/// Bytes of an order at most: every second block of eight VIPs comes to some 400 KiB.
pub const ORDER_LIMIT: usize = 512 * 1024;

/// The version of both.
const VERSION: u32 = 1;

/// What a balancer has in its table for the instance that it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    schema_version: u32,
    /// By public VIP.
    pub vips: BTreeMap<IpAddr, VipOrder>,
}

/// Of one VIP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VipOrder {
    /// Given by this balancer: they may be used once every balancer has them in its table.
    pub leased: Blocks,
    /// Given by another one, and in the table here as well.
    pub routed: Blocks,
    /// No flow may begin on these; they stay in the table while there are some.
    pub draining: Blocks,
}

/// What the instance answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of the form.
    pub schema_version: u32,
    /// The instance's name.
    pub instance: String,
    /// By public VIP.
    pub vips: BTreeMap<IpAddr, VipReport>,
    /// Flows that found no port since the kernel's tables were made, by reason.
    #[serde(default)]
    pub failed: BTreeMap<String, u64>,
    /// The destinations with the most ports in use.
    #[serde(default)]
    pub top: Vec<Top>,
}

/// Of one VIP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VipReport {
    /// Blocks that are used, will be used, or have flows yet.
    pub held: Blocks,
    /// Of these, those that no flow has used for as long as the file says.
    pub idle: Blocks,
    /// How many blocks more are wanted.
    pub wanted: usize,
    /// Ports on which flows may begin.
    pub allocated: u32,
    /// Ports with a flow.
    pub used: u32,
    /// Ports with a flow to the destination that has the most: at `allocated` nothing more goes there.
    pub busiest: u32,
}

/// A destination of outbound flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// Its address.
    pub address: IpAddr,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Its port; of `icmp` 0.
    pub port: u16,
    /// Flows there.
    pub flows: u32,
    /// Flows there that found no port lately.
    #[serde(default)]
    pub failed: u64,
}

/// What is wrong with what the other side said.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Wrong {
    /// It cannot be read.
    #[error("it is not what a gateway of this version says: {0}")]
    Form(String),
    /// It is of another version.
    #[error("it is of version {0} and not {VERSION}; the same version of gateway has to run on both hosts")]
    Version(u32),
    /// It is another instance's.
    #[error(
        "the instance {0:?} answers there; two hosts may have the same address, or two instances one file"
    )]
    Name(String),
}

impl Top {
    /// `198.51.100.7:443`; of `icmp` the address alone.
    pub fn place(&self) -> String {
        match self.port {
            0 => self.address.to_string(),
            port => SocketAddr::new(self.address, port).to_string(),
        }
    }
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.place())
    }
}

impl Order {
    /// Of these VIPs.
    pub const fn new(vips: BTreeMap<IpAddr, VipOrder>) -> Self {
        Self { schema_version: VERSION, vips }
    }

    /// From a request's body.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn read(text: &[u8]) -> Result<Self, Wrong> {
        let order: Self = serde_json::from_slice(text).map_err(|error| Wrong::Form(error.to_string()))?;
        if order.schema_version == VERSION { Ok(order) } else { Err(Wrong::Version(order.schema_version)) }
    }
}

impl Report {
    /// Of an instance that holds nothing yet.
    pub fn new(instance: &str) -> Self {
        Self { schema_version: VERSION, instance: instance.into(), ..Self::default() }
    }

    /// From the answer of the instance of that name.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn read(text: &[u8], instance: &str) -> Result<Self, Wrong> {
        let report: Self = serde_json::from_slice(text).map_err(|error| Wrong::Form(error.to_string()))?;
        match () {
            () if report.schema_version != VERSION => Err(Wrong::Version(report.schema_version)),
            () if report.instance != instance => Err(Wrong::Name(report.instance)),
            () => Ok(report),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads_and_fields_may_be_added() {
        let vip: IpAddr = "203.0.113.5".parse().unwrap();
        let order = Order::new([(vip, VipOrder::default())].into());
        assert_eq!(Order::read(&serde_json::to_vec(&order).unwrap()), Ok(order));
        let report = Report { vips: [(vip, VipReport::default())].into(), ..Report::new("gw-1") };
        assert_eq!(Report::read(&serde_json::to_vec(&report).unwrap(), "gw-1"), Ok(report));
        let later = br#"{"schema_version":1,"vips":{"203.0.113.5":{"leased":[[128,255]],"of_later":1}},"of_later":2}"#;
        assert_eq!(Order::read(later).unwrap().vips[&vip].leased.len(), 128);
    }

    #[test]
    fn what_is_not_meant_is_refused_and_told() {
        assert_eq!(Order::read(br#"{"schema_version":2,"vips":{}}"#), Err(Wrong::Version(2)));
        for text in [&b"<html>"[..], b"{}", br#"{"schema_version":1,"vips":{"vip":{}}}"#] {
            assert!(matches!(Order::read(text), Err(Wrong::Form(_))));
        }
        let other = serde_json::to_vec(&Report::new("gw-2")).unwrap();
        assert_eq!(Report::read(&other, "gw-1"), Err(Wrong::Name("gw-2".into())));
    }
}
