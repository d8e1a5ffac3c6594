//! SNAT ports by instance (R34).

use std::fmt;

use super::families::Families;
use crate::status::{Instance, SnatVip};

pub(super) fn encode(instances: &[Instance], to: &mut Families<'_>) -> fmt::Result {
    let known = || instances.iter().filter_map(|one| Some((one.name.as_str(), one.snat.as_ref()?)));
    let ports: Vec<_> = known()
        .flat_map(|(name, snat)| snat.vips.iter().map(move |vip| (name, vip.vip.to_string(), vip)))
        .collect();
    let each = |value: fn(&SnatVip) -> u32| {
        let samples = ports.iter();
        samples.map(move |(name, text, vip)| {
            ([("instance_name", *name), ("vip", text.as_str())], f64::from(value(vip)))
        })
    };
    to.gauge(
        "snat_ports_allocated",
        "Ports of a public VIP by which an instance's own flows leave.",
        each(|vip| vip.allocated),
    )?;
    to.gauge("snat_ports_used", "Those with a flow.", each(|vip| vip.used))?;
    to.gauge(
        "snat_ports_busiest",
        "Those with a flow to the destination that has the most of them.",
        each(|vip| vip.busiest),
    )?;
    let failed = known().flat_map(|(name, snat)| {
        snat.failed
            .iter()
            .map(move |(reason, count)| ([("instance_name", name), ("reason", reason.as_str())], *count))
    });
    to.counter("snat_failed", "Packets of an instance's own flows that found no port, by reason.", failed)
}
