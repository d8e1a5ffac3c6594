//! A balancer's [`Status`] as metrics: OpenMetrics text, which Prometheus and its kin read. Pure.
//!
//! Names follow their conventions: a prefix, base units, `_total` for what only grows, one gauge a word for states. Counters of
//! packets are the kernel's own and outlive this process; those of probes begin with it.

mod balancer;
pub(crate) mod families;
mod instance;
mod snat;
mod traffic;

#[cfg(test)]
mod documents;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::families::Families;
use crate::status::Status;

/// The media type of [`text`](fn@text).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a balancer.
pub fn text(status: &Status) -> String {
    let mut registry = Registry::with_prefix("gateway");
    registry.register_collector(Box::new(Snapshot(status.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// What is told in one answer.
#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(status) = self;
        let mut families = Families::new(encoder);
        balancer::encode(status, &mut families)?;
        if let Some(counters) = &status.counters {
            traffic::encode(counters, &mut families)?;
        }
        instance::encode(&status.instances, &mut families)?;
        snat::encode(&status.instances, &mut families)
    }
}
