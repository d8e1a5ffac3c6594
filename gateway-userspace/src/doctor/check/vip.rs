//! Who has the VIPs, and the instances' addresses.

use std::net::IpAddr;

use super::{list, seen, unless_balancer};
use crate::{
    doctor::{
        facts::{Claim, Facts, Place},
        graph::Outcome,
        report::Finding,
    },
    model::Model,
    net::mac_text,
};

/// Each on the interface of its side: on lo, where an instance has it, or on another one nobody on that link hears of it.
pub(super) fn here(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let (file, own) = (seen!(facts.file), seen!(facts.addresses));
    let Model { vip, balancer, .. } = &file.model;
    let finding = |(interface, vip): (&str, IpAddr)| {
        let has = own.get(&vip);
        if has.is_some_and(|interfaces| interfaces.contains(interface)) {
            return None;
        }
        let but = has.map_or_else(String::new, |interfaces| format!(", but on {}", list(interfaces)));
        Some(Finding::error(
            format!(
                "the balancer runs, and {vip} is not on {interface}{but}: nobody answers for it on the link"
            ),
            format!("`ip address show to {vip}`"),
            "start the balancer again: it claims the VIPs anew, and says who else has one",
        ))
    };
    let sides = balancer.interfaces.sides().into_iter();
    let wanted = sides.flat_map(|(side, name)| vip.on(side).into_iter().map(move |vip| (name, vip)));
    Outcome::of(wanted.filter_map(finding).collect(), list(vip.all()))
}

pub(super) fn unique(facts: &Facts) -> Outcome {
    let (file, claimed) = (seen!(facts.file), seen!(facts.claimed));
    let vips = file.model.vip.all().filter_map(|vip| Some((vip, claimed.get(&vip)?)));
    let is_balancer = facts.place.contains(&Place::Balancer);
    let mut findings = Vec::new();
    let mut asked = Vec::new();
    for (vip, claim) in vips {
        asked.push(vip);
        let Claim { interface, is_own, others } = claim;
        let macs = list(others.iter().map(|mac| mac_text(*mac)));
        let question = format!("ARP or neighbour discovery for {vip} on {interface}");
        let is_ours = *is_own && is_balancer;
        match others.len() + usize::from(is_ours) {
            0 if !is_balancer => findings.push(Finding::error(
                format!("nobody has the VIP {vip} on the link of {interface}"),
                format!("{question} had no answer"),
                "start the balancer (`gateway balance`), and see that it is on this link",
            )),
            // Before the first start nobody has it, and elsewhere the balancer.
            0 => {}
            1 if is_ours || !is_balancer => {}
            _ => findings.push(Finding::error(
                match is_ours {
                    true => format!("another host has the VIP {vip} too: it gets some of its packets"),
                    false => format!("the VIP {vip} is on the link already, or more than once"),
                },
                format!("{question} was answered by {macs}"),
                format!(
                    "find the host by its MAC address and take {vip} off (`ip address del`); on an instance: `sysctl \
                     net.ipv4.conf.all.arp_ignore=1`"
                ),
            )),
        }
    }
    if asked.is_empty() {
        return Outcome::Elsewhere(
            "none is on a link of this host: packets for them go through a router".into(),
        );
    }
    Outcome::of(findings, format!("{}: no two hosts with the same", list(asked)))
}

pub(super) fn dips(facts: &Facts) -> Outcome {
    let (file, claimed) = (seen!(facts.file), seen!(facts.claimed));
    let dips = file.model.instances.iter().flat_map(|one| one.dip.iter().map(move |dip| (&one.name, *dip)));
    let mut findings = Vec::new();
    let mut asked: Vec<IpAddr> = Vec::new();
    for (name, dip) in dips {
        let Some(Claim { interface, is_own, others }) = claimed.get(&dip) else { continue };
        asked.push(dip);
        if others.len() + usize::from(*is_own) > 1 {
            let macs = list(others.iter().map(|mac| mac_text(*mac)));
            findings.push(Finding::error(
                format!("two hosts have {dip}, the address of {name}: flows go to the one or the other"),
                format!("ARP or neighbour discovery for {dip} on {interface} was answered by {macs}"),
                format!("take {dip} off the host that is not {name} (`ip address del`)"),
            ));
        }
    }
    if asked.is_empty() {
        return Outcome::Elsewhere("none is on a link of this host".into());
    }
    Outcome::of(findings, format!("{} of them, no two hosts with the same", asked.len()))
}
