//! What the balancer counted, as it writes it for programs (`--counters FILE`).

use std::collections::BTreeMap;

use serde::Deserialize;

/// All of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Counters {
    /// By VIP and port.
    pub services: Vec<Forwarded>,
    /// By instance.
    pub instances: Vec<Forwarded>,
    /// By VIP, or VIP and port, and reason; only what occurred.
    pub drops: Vec<Dropped>,
    /// What the balancer answered itself.
    pub answers: Answers,
    /// How packets of moved buckets found their instance.
    pub steering: BTreeMap<String, u64>,
}

/// What the balancer answered itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Answers {
    /// Echo replies.
    pub echo: u64,
}

/// What was forwarded.
#[derive(Debug, Clone, Deserialize)]
pub struct Forwarded {
    /// `10.0.0.5:443`, or an instance's name.
    pub name: String,
    /// In all.
    pub packets: u64,
    /// Flows begun.
    pub syns: u64,
}

/// What was dropped.
#[derive(Debug, Clone, Deserialize)]
pub struct Dropped {
    /// `203.0.113.5`, or `10.0.0.5:443` where it concerns a service.
    pub name: String,
    /// The reason's name: `no-service`.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// The reason in a sentence.
    pub meaning: String,
}

impl Counters {
    /// Packets dropped for a reason, whatever they were for.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.iter().filter(|drop| drop.reason == reason).map(|drop| drop.packets).sum()
    }

    /// Packets dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.drops.iter().map(|drop| drop.packets).sum()
    }

    /// Packets forwarded to any instance.
    pub fn forwarded(&self) -> u64 {
        self.instances.iter().map(|instance| instance.packets).sum()
    }
}
