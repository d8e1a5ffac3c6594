//! What the kernel counted.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::families::Families;
use crate::{
    dataplane::{Counters, Forwarded},
    plan,
};

pub(super) fn encode(counters: &Counters, to: &mut Families<'_>) -> fmt::Result {
    let services: Vec<_> = counters.services.iter().map(|one| (Place::of(&one.name), one)).collect();
    let labelled = |value: fn(&Forwarded) -> u64| {
        services.iter().map(move |(place, one)| {
            ([("vip", place.vip.as_str()), ("port", place.port.as_str())], value(one))
        })
    };
    to.counter(
        "vip_packets",
        "Packets to a VIP's port that were sent to an instance.",
        labelled(|one| one.packets),
    )?;
    to.bytes("vip", "Their bytes, Ethernet headers included.", labelled(|one| one.bytes))?;
    to.counter("vip_syns", "TCP connections begun, SYNs sent again included.", labelled(|one| one.syns))?;

    let labelled = |value: fn(&Forwarded) -> u64| {
        counters.instances.iter().map(move |one| ([("instance_name", one.name.as_str())], value(one)))
    };
    to.counter("instance_packets", "Packets that were sent to an instance.", labelled(|one| one.packets))?;
    to.bytes("instance", "Their bytes, Ethernet headers included.", labelled(|one| one.bytes))?;
    to.counter(
        "instance_syns",
        "TCP connections begun, SYNs sent again included.",
        labelled(|one| one.syns),
    )?;

    let drops: Vec<_> = counters.drops.iter().map(|one| (Place::of(&one.name), one)).collect();
    let labelled = drops.iter().map(|(place, one)| {
        ([("vip", place.vip.as_str()), ("port", place.port.as_str()), ("reason", &*one.reason)], one.packets)
    });
    to.counter("dropped_packets", "Packets that were dropped, by reason.", labelled)?;

    let answers = &counters.answers;
    let kinds = [("echo", answers.echo), ("error", answers.error), ("reset", answers.reset)];
    to.counter(
        "answers",
        "What the balancer answered itself: echo replies, ICMP errors, TCP resets.",
        kinds.map(|(kind, count)| ([("kind", kind)], count)),
    )?;
    to.counter(
        "answers_withheld",
        "Answers that were not given, since there had been too many.",
        [([], answers.limited)],
    )?;

    let ways = counters.steering.iter().map(|(way, &packets)| ([("way", &**way)], packets));
    to.counter("moved_bucket_packets", "Packets of moved buckets, by how their instance was found.", ways)
}

/// What is counted apart, as two labels; both are empty where no VIP could be told.
struct Place {
    vip: String,
    port: String,
}

impl Place {
    /// From `10.0.0.5`, `10.0.0.5:443`, `[fd00::5]:443`, `10.0.0.5:53/udp` or `(no VIP)`.
    fn of(name: &str) -> Self {
        let (bare, udp) = name.strip_suffix(plan::UDP).map_or((name, ""), |bare| (bare, plan::UDP));
        match (bare.parse::<SocketAddr>(), name.parse::<IpAddr>()) {
            (Ok(service), _) => {
                Self { vip: service.ip().to_string(), port: format!("{}{udp}", service.port()) }
            }
            (_, Ok(vip)) => Self { vip: vip.to_string(), port: String::new() },
            _ => Self { vip: String::new(), port: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_name_is_a_vip_and_a_port() {
        for (name, vip, port) in [
            ("10.0.0.5:443", "10.0.0.5", "443"),
            ("[fd00:0:0:1::5]:3443", "fd00:0:0:1::5", "3443"),
            ("10.0.0.5:53/udp", "10.0.0.5", "53/udp"),
            ("203.0.113.5", "203.0.113.5", ""),
            ("fd00:0:0:1::5", "fd00:0:0:1::5", ""),
            ("(no VIP)", "", ""),
        ] {
            let place = Place::of(name);
            assert_eq!((place.vip.as_str(), place.port.as_str()), (vip, port), "{name}");
        }
    }
}
