//! What the program counted, with names.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use aya::maps::{MapData, PerCpuArray};
use gateway_ebpf::{
    layout::{REASONS, Traffic},
    note::Settled,
    reason::Reason,
    tables::Answered,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Error,
    ring::{Ring, Shown},
};
use crate::plan::Plan;

/// Everything counted since the program was loaded. As JSON: `{schema_version, services, instances, drops, answers, steering}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Counters {
    /// Of this structure; grows when a field changes its meaning.
    pub schema_version: u32,
    /// By VIP and port, and by VIP what answers flows of instances' own.
    pub services: Vec<Forwarded>,
    /// By instance.
    pub instances: Vec<Forwarded>,
    /// Reasons that occurred.
    pub drops: Vec<Dropped>,
    /// What the balancer answered itself.
    pub answers: Answers,
    /// How packets of moved buckets found their instance ([`Settled`]), by name.
    pub steering: BTreeMap<Cow<'static, str>, u64>,
}

/// What was forwarded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Forwarded {
    /// `10.0.0.5:443`, `203.0.113.5`, or an instance's name.
    pub name: String,
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer headers included.
    pub bytes: u64,
    /// TCP connections begun (SYNs, retransmitted ones included).
    pub syns: u64,
}

/// What was dropped.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Dropped {
    /// `203.0.113.5`, or `10.0.0.5:443` where it concerns a service.
    pub name: String,
    /// [`Reason::name`].
    pub reason: Cow<'static, str>,
    /// How often.
    pub packets: u64,
    /// What happened.
    pub meaning: Cow<'static, str>,
    /// What to do about it.
    pub remedy: Cow<'static, str>,
    /// A packet of those; absent where none could be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Shown>,
}

/// What the balancer answered itself, for all VIPs together.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Answers {
    /// Echo replies.
    pub echo: u64,
    /// ICMP errors. What they are about is among the drops.
    pub error: u64,
    /// TCP resets. Likewise.
    pub reset: u64,
    /// Answers that were not given, since there had been too many.
    pub limited: u64,
}

/// The maps that counters are in.
pub(super) struct CounterMaps {
    /// By scope.
    pub(super) services: PerCpuArray<MapData, Traffic>,
    /// By instance number.
    pub(super) instances: PerCpuArray<MapData, Traffic>,
    /// By scope and reason.
    pub(super) drops: PerCpuArray<MapData, u64>,
    /// What a balancer counts besides.
    pub(super) balancer: Option<BalancerMaps>,
}

/// Counters that an instance's program has no use for.
pub(super) struct BalancerMaps {
    /// By [`Answered`].
    pub(super) answers: PerCpuArray<MapData, u64>,
    /// By [`Settled`].
    pub(super) steering: PerCpuArray<MapData, u64>,
}

impl CounterMaps {
    /// With the names of `plan`, and the last drops that were shown.
    pub(super) fn read(&self, plan: &Plan, shown: &Ring) -> Result<Counters, Error> {
        let Self { services, instances, drops, balancer } = self;
        let mut counters = Counters { schema_version: 1, ..Counters::default() };
        for (scope, &number) in &plan.scopes {
            let is_service = plan.services.values().any(|service| service.scope == number);
            if is_service || plan.vips.values().any(|vip| vip.scope == number && vip.leases != 0) {
                counters.services.push(forwarded(scope.to_string(), services, number, "SERVICE_TRAFFIC")?);
            }
        }
        for (name, &number) in &plan.numbers {
            counters.instances.push(forwarded(name.to_string(), instances, number, "INSTANCE_TRAFFIC")?);
        }
        // Scope 0: frames whose VIP could not be told.
        let scopes = plan.scopes.iter().map(|(scope, &number)| (scope.to_string(), number));
        for (name, number) in std::iter::once(("(no VIP)".to_owned(), 0)).chain(scopes) {
            for &reason in Reason::ALL {
                let index = u32::from(number) * REASONS + reason as u32;
                let packets: u64 = drops.get(&index, 0).map_err(Error::map("DROPS"))?.iter().sum();
                if packets > 0 {
                    counters.drops.push(Dropped {
                        name: name.clone(),
                        reason: reason.name().into(),
                        packets,
                        meaning: reason.meaning().into(),
                        remedy: reason.remedy().into(),
                        sample: shown.last(number, reason),
                    });
                }
            }
        }
        let answered = |kind: Answered| -> Result<u64, Error> {
            let Some(BalancerMaps { answers, .. }) = balancer else { return Ok(0) };
            Ok(answers.get(&(kind as u32), 0).map_err(Error::map("ANSWERS"))?.iter().sum())
        };
        counters.answers = Answers {
            echo: answered(Answered::Echo)?,
            error: answered(Answered::Error)?,
            reset: answered(Answered::Reset)?,
            limited: answered(Answered::Limited)?,
        };
        for (settled_by, name) in Settled::ALL {
            counters.steering.insert(name.into(), self.settled(settled_by)?);
        }
        Ok(counters)
    }

    /// How many packets of moved buckets were settled so.
    pub(super) fn settled(&self, how: Settled) -> Result<u64, Error> {
        let Some(BalancerMaps { steering, .. }) = &self.balancer else { return Ok(0) };
        Ok(steering.get(&(how as u32), 0).map_err(Error::map("SETTLED"))?.iter().sum())
    }
}

fn forwarded(
    name: String,
    map: &PerCpuArray<MapData, Traffic>,
    number: u16,
    map_name: &'static str,
) -> Result<Forwarded, Error> {
    let mut sum = Forwarded { name, packets: 0, bytes: 0, syns: 0 };
    for cpu in map.get(&u32::from(number), 0).map_err(Error::map(map_name))?.iter() {
        sum.packets += cpu.packets;
        sum.bytes += cpu.bytes;
        sum.syns += cpu.syns;
    }
    Ok(sum)
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28} {:>12} {:>15} {:>10}", "FORWARDED", "packets", "bytes", "SYNs")?;
        for line in self.services.iter().chain(&self.instances) {
            writeln!(f, "{:<28} {:>12} {:>15} {:>10}", line.name, line.packets, line.bytes, line.syns)?;
        }
        let Answers { echo, error, reset, limited } = self.answers;
        writeln!(f, "{:<28} {echo:>12} echo, {error} error, {reset} reset, {limited} withheld", "ANSWERED")?;
        let settled = self.steering.iter().filter(|(_, packets)| **packets > 0);
        for (place, (name, packets)) in settled.enumerate() {
            if place == 0 {
                writeln!(f, "{:<28} {:>12}", "MOVED BUCKETS", "packets")?;
            }
            writeln!(f, "{name:<28} {packets:>12}")?;
        }
        if self.drops.is_empty() {
            return write!(f, "DROPPED                                 0");
        }
        write!(f, "{:<28} {:>12} reason", "DROPPED", "packets")?;
        for line in &self.drops {
            write!(f, "\n{:<28} {:>12} {}: {}", line.name, line.packets, line.reason, line.meaning)?;
            if let Some(sample) = &line.sample {
                write!(f, "\n    {} {}: {}", sample.time, sample.interface, sample.line)?;
            }
        }
        Ok(())
    }
}
