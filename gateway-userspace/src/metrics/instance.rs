//! The instances: what they should get, what their probes say, what they still have.

use std::fmt;

use super::families::{Families, flag};
use crate::{
    model::AdminState,
    status::{DataPath, Health, HealthWord, Instance, Time, VipPath},
};

const ADMIN_STATES: [(AdminState, &str); 3] =
    [(AdminState::Auto, "auto"), (AdminState::Up, "up"), (AdminState::Down, "down")];

pub(super) fn encode(instances: &[Instance], to: &mut Families<'_>) -> fmt::Result {
    let each = |value: fn(&Instance) -> Option<f64>| {
        instances.iter().filter_map(move |one| Some(([("instance_name", one.name.as_str())], value(one)?)))
    };
    to.gauge("instance_weight", "The weight in the file.", each(|one| one.weight.map(f64::from)))?;
    to.gauge(
        "instance_share",
        "The weight of now; 0: no new flows.",
        each(|one| Some(f64::from(one.share))),
    )?;
    to.gauge(
        "instance_buckets",
        "Buckets, of 65537, that it owns.",
        each(|one| Some(f64::from(one.buckets))),
    )?;
    to.gauge(
        "instance_overridden",
        "1 if its admin state was set at run time.",
        each(|one| Some(flag(one.overridden.is_some()))),
    )?;
    to.gauge(
        "instance_draining",
        "1 while it keeps its flows and gets no new ones.",
        each(|one| Some(flag(one.drain.is_some()))),
    )?;
    to.seconds(
        "instance_drain_end_timestamp",
        "When what is left of its flows is ended, Unix time.",
        each(|one| one.drain?.ends.map(Time::seconds)),
    )?;
    to.gauge(
        "instance_flows",
        "Living TCP connections to VIPs, as it counts them itself.",
        each(|one| one.flows.map(|flows| flows.living as f64)),
    )?;
    let admin = instances.iter().filter_map(|one| Some((one.name.as_str(), one.admin_state?)));
    let admin = admin.flat_map(|(name, state)| {
        ADMIN_STATES.map(|(word, text)| ([("instance_name", name), ("state", text)], flag(word == state)))
    });
    to.gauge("instance_admin_state", "1 for the admin state that it is in.", admin)?;
    let dips: Vec<_> = instances
        .iter()
        .flat_map(|one| {
            one.dips.iter().map(move |dip| (one.name.as_str(), dip.address.to_string(), dip.resolved))
        })
        .collect();
    let dips =
        dips.iter().map(|(name, dip, resolved)| ([("instance_name", *name), ("dip", dip)], flag(*resolved)));
    to.gauge("instance_dip_resolved", "1 if the next hop to the address is known.", dips)?;
    health(instances, to)?;
    data_path(instances, to)
}

fn health(instances: &[Instance], to: &mut Families<'_>) -> fmt::Result {
    let probed = || instances.iter().filter_map(|one| Some((one.name.as_str(), one.health.as_ref()?)));
    let words = probed().flat_map(|(name, health)| {
        HealthWord::ALL
            .map(|word| ([("instance_name", name), ("state", word.as_str())], flag(word == health.state)))
    });
    to.gauge("instance_health", "1 for the state that its probes say it is in.", words)?;
    to.seconds(
        "instance_health_changed_timestamp",
        "Since when it is in that state, Unix time.",
        probed().map(|(name, health)| ([("instance_name", name)], health.since.seconds())),
    )?;
    let results = probed().flat_map(|(name, Health { succeeded, failed, .. })| {
        [("success", *succeeded), ("failure", *failed)]
            .map(|(result, count)| ([("instance_name", name), ("result", result)], count))
    });
    to.counter("probes", "Probes that ended, by their result.", results)?;
    to.seconds(
        "probe_last_duration",
        "How long the last probe took.",
        probed()
            .filter_map(|(name, health)| Some(([("instance_name", name)], health.history.last()?.seconds))),
    )?;
    to.counter(
        "probe_transitions",
        "How often the state that probes tell has changed.",
        probed().map(|(name, health)| ([("instance_name", name)], health.transitions)),
    )
}

fn data_path(instances: &[Instance], to: &mut Families<'_>) -> fmt::Result {
    let results = instances.iter().filter_map(|one| Some((one.name.as_str(), one.data_path.as_ref()?)));
    let paths = || {
        results.clone().flat_map(|(name, DataPath { vips, .. })| vips.iter().map(move |path| (name, path)))
    };
    let counts = paths().flat_map(|(name, VipPath { vip, tried, answered, .. })| {
        [("success", *answered), ("failure", tried.saturating_sub(*answered))].map(|(result, count)| {
            ([("instance_name", name), ("vip", vip.as_str()), ("result", result)], count)
        })
    });
    to.counter(
        "data_path_connections",
        "Connections made through a VIP to an instance, by their result.",
        counts,
    )?;
    to.gauge(
        "data_path_availability_ratio",
        "The share of the last connections through a VIP to an instance, 64 at most, that came about.",
        paths().map(|(name, path)| ([("instance_name", name), ("vip", path.vip.as_str())], path.recent)),
    )
}
