//! The balancer itself: what it runs, with which configuration, and whether it serves.

use std::fmt;

use super::families::{Families, Label, flag};
use crate::{
    dataplane::XdpMode,
    model::{Affinity, Forwarding},
    status::{State, Status},
};

/// Of what there is one.
const ONE: [Label<'_>; 0] = [];

pub(super) fn encode(status: &Status, to: &mut Families<'_>) -> fmt::Result {
    to.gauge("build_info", "The version that runs.", [([("version", status.version.as_str())], 1.0)])?;
    let labels = [
        ("service", status.service.as_str()),
        ("mode", status.mode.as_str()),
        ("forwarding", forwarding(status.forwarding)),
        ("affinity", affinity(status.affinity)),
    ];
    to.gauge("service_info", "What is served, and how.", [(labels, 1.0)])?;
    let program = [("id", status.program.id.to_string()), ("tag", status.program.tag.clone())];
    let labels = program.each_ref().map(|(name, value)| (*name, value.as_str()));
    to.gauge("program_info", "The XDP program that packets go through.", [(labels, 1.0)])?;
    to.seconds("start_time", "When this process began, Unix time.", [(ONE, status.since.seconds())])?;
    let words = State::ALL.map(|word| ([("state", word.as_str())], flag(word == status.state)));
    to.gauge("state", "1 for the state that it is in.", words)?;

    let apply = &status.configuration.last_apply;
    to.gauge(
        "config_generation",
        "The number of the configuration in force.",
        [(ONE, status.generation as f64)],
    )?;
    to.gauge(
        "config_last_apply_successful",
        "1 if the file was taken up when that was last tried.",
        [(ONE, flag(apply.ok))],
    )?;
    to.seconds(
        "config_last_apply_timestamp",
        "When it was last tried to take up the file, Unix time.",
        [(ONE, apply.time.seconds())],
    )?;

    let interfaces = &status.interfaces;
    let xdp = |mode| if mode == XdpMode::Native { "native" } else { "generic" };
    let infos = interfaces.iter().map(|one| ([("interface", one.name.as_str()), ("xdp", xdp(one.xdp))], 1.0));
    to.gauge("interface_info", "How XDP runs on an interface.", infos)?;
    let carriers = interfaces.iter().map(|one| ([("interface", one.name.as_str())], flag(one.carrier)));
    to.gauge("interface_carrier", "1 if packets can pass.", carriers)?;

    let vips: Vec<_> = status.vips.iter().map(|vip| (vip.address.to_string(), vip)).collect();
    let ready = vips
        .iter()
        .map(|(text, vip)| ([("vip", text.as_str()), ("kind", vip.kind.as_str())], flag(vip.ready)));
    to.gauge("vip_ready", "1 if clients reach the service on the VIP.", ready)?;

    to.gauge(
        "moved_buckets",
        "Buckets, of 65537, that changed hands and may have flows of an earlier owner.",
        [(ONE, f64::from(status.windows.buckets))],
    )?;
    to.gauge(
        "affinity_switching",
        "1 while flows of the affinity before are still served by it.",
        [(ONE, flag(status.windows.affinity_switch))],
    )
}

fn forwarding(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::L2 => "l2",
        Forwarding::Ipip => "ipip",
        Forwarding::Gue => "gue",
        Forwarding::Nat => "nat",
    }
}

fn affinity(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::FiveTuple => "five-tuple",
        Affinity::ThreeTuple => "three-tuple",
        Affinity::SourceAddress => "source-address",
    }
}
