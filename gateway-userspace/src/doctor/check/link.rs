//! The balancer's interfaces, and the program on them.

use super::{list, seen, unless_balancer};
use crate::{
    dataplane::XdpMode,
    doctor::{
        facts::{Facts, Interface, Place, Seen, Sent, Tried},
        graph::Outcome,
        report::Finding,
    },
    model::Forwarding,
};

/// The largest packet of a veth with a program that takes frames in one piece.
const VETH_MTU: u32 = 3506;

pub(super) fn interface(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let all = seen!(facts.interfaces);
    let findings = all.iter().filter_map(|one| {
        let name = &one.name;
        let Some(link) = &one.link else {
            return Some(Finding::error(
                format!("there is no interface {name}"),
                "`ip link show` does not have it",
                "correct `balancer.interface` (or `inside`, `outside`) in the file",
            ));
        };
        let show = format!("`ip link show dev {name}`");
        if link.mac.is_none() {
            let remedy = "name an Ethernet interface in [balancer]";
            return Some(Finding::error(format!("{name} has no Ethernet address"), show, remedy));
        }
        if !link.up {
            return Some(Finding::error(
                format!("{name} is down"),
                show,
                format!("ip link set dev {name} up"),
            ));
        }
        (!link.carrier).then(|| {
            let cause = format!("{name} has no carrier: the other end of its cable is down or unplugged");
            Finding::error(cause, show, "see to the cable, the switch's port, or the peer of a veth")
        })
    });
    let names = list(all.iter().map(|one| &one.name));
    Outcome::of(findings.collect(), format!("{names} up, with a carrier"))
}

pub(super) fn foreign(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let all = seen!(facts.interfaces);
    let finding = |one: &Interface, program: &String| {
        let name = &one.name;
        Finding::error(
            format!("{name} carries {program}, which is not this service's"),
            format!("`ip link show dev {name}`, `bpftool net show dev {name}`"),
            format!(
                "stop what put it there, or `xdp-loader unload {name} --all`, or `ip link set dev {name} xdp off`"
            ),
        )
    };
    let findings = all.iter().flat_map(|one| one.foreign.iter().map(move |program| finding(one, program)));
    Outcome::of(findings.collect(), "none")
}

/// Of a program at work; else of what the driver would take.
pub(super) fn mode(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let all = seen!(facts.interfaces);
    let driver = |name: &str| {
        let one = all.iter().find(|one| one.name == name)?;
        let Seen::Seen(driver) = &one.driver else { return None };
        Some((driver.as_str(), one.link.as_ref()?.mtu))
    };
    if let Seen::Seen(Some(status)) = &facts.status {
        let generic = status.interfaces.iter().filter(|one| one.xdp == XdpMode::Generic);
        let findings = generic.map(|one| {
            let name = &one.name;
            let why = match driver(name) {
                Some(("veth", mtu)) if mtu > VETH_MTU => format!(": veth takes none above an MTU of {VETH_MTU}, and it has {mtu}"),
                Some((driver, mtu)) => format!(": the driver {driver} took none, at an MTU of {mtu}"),
                None => String::new(),
            };
            Finding::warning(
                format!("the program on {name} runs in generic mode, several times slower{why}"),
                format!("`ip link show dev {name}` says xdpgeneric"),
                format!("a smaller MTU (`ip link set dev {name} mtu 1500`) or an interface whose driver has XDP; then `gateway detach` and start again"),
            )
        });
        return Outcome::of(findings.collect(), "native, in the driver");
    }
    let too_large = all.iter().filter_map(|one| Some((&one.name, driver(&one.name)?)));
    let too_large = too_large.filter(|(_, (driver, mtu))| *driver == "veth" && *mtu > VETH_MTU);
    let findings: Vec<_> = too_large
        .map(|(name, (_, mtu))| {
            Finding::warning(
                format!("the program on {name} would run in generic mode: veth takes none above an MTU of {VETH_MTU}, and it has {mtu}"),
                format!("`ip link show dev {name}`"),
                format!("ip link set dev {name} mtu {VETH_MTU}"),
            )
        })
        .collect();
    let drivers = all.iter().map(|one| match &one.driver {
        Seen::Seen(driver) => format!("{}: driver {driver}", one.name),
        Seen::Unseen(_) => format!("{}: driver not known", one.name),
    });
    Outcome::of(findings, format!("{}; whether it takes a program is told at the start", list(drivers)))
}

/// Of now: what was lost long ago, while a switch was set up perhaps, is no fault any more.
pub(super) fn lost(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let all = seen!(facts.interfaces);
    let counted: Vec<_> = all.iter().filter_map(|one| Some((&one.name, one.sent?))).collect();
    if counted.is_empty() {
        return Outcome::Elsewhere("its driver does not count them".into());
    }
    let finding = |(name, sent): &(&String, Sent)| {
        let Sent { taken, lost, .. } = sent;
        let cause = format!(
            "{lost} of {} frames that the program just sent out of {name} were lost: the other end of the veth takes none",
            taken + lost
        );
        Finding::error(
            cause,
            format!("`ethtool -S {name}` counts them as xdp_tx_errors"),
            "at the other end an XDP program that passes everything, or `ethtool -K PEER gro on`; see that frames fit its MTU",
        )
    };
    let findings: Vec<_> = counted.iter().filter(|(_, sent)| sent.lost > 0).map(finding).collect();
    let before = counted.iter().map(|(_, sent)| sent.lost_before).sum::<u64>();
    let taken = counted.iter().map(|(_, sent)| sent.taken).sum::<u64>();
    match before {
        0 => Outcome::of(findings, "none was lost"),
        // As it was then, or mended since.
        _ if taken == 0 && findings.is_empty() => {
            Outcome::Unknown(format!("none was sent just now, and {before} were lost before"))
        }
        _ => Outcome::of(findings, format!("none of {taken} was lost just now; {before} were before")),
    }
}

/// A veth leaves checksums to a card, and a program that sends a frame on forgets that they are missing. Only where no connection comes
/// about: behind a real card, or a link that fills them in, all is well.
pub(super) fn checksums(facts: &Facts) -> Outcome {
    if facts.place.contains(&Place::Balancer) {
        return Outcome::Elsewhere("what the balancer's host sends does not pass its program".into());
    }
    let file = seen!(facts.file);
    let names = list(&facts.unfinished);
    let Some(first) = facts.unfinished.first() else {
        return Outcome::Fine("they are filled in, or left to a card that does it".into());
    };
    let remedy = format!("ethtool -K {first} tx off");
    if facts.place.contains(&Place::Instance) {
        return match file.model.balancer.forwarding {
            Forwarding::Nat => Outcome::Unknown(format!(
                "answers go through the balancer, and {names} leaves their checksums to a card: where the balancer is on a veth too, `{remedy}`"
            )),
            _ => Outcome::Fine("answers do not go through the balancer".into()),
        };
    }
    let is = |wanted: fn(&Tried) -> bool| {
        facts.management.iter().any(|door| matches!(&door.tried, Seen::Seen(tried) if wanted(tried)))
    };
    let is_silent =
        is(|tried| matches!(tried, Tried::Silent)) && !is(|tried| matches!(tried, Tried::Connected));
    let findings = is_silent.then(|| {
        Finding::error(
            format!("{names} leaves checksums to a card, and no connection to a VIP is answered: instances drop what comes to them so"),
            format!("`ethtool -k {first}` says tx-checksumming: on; a balancer on a veth sends packets on as they are"),
            format!("{remedy}, or the same at the link that leads into the balancer's; if that changes nothing, a firewall on the way"),
        )
    });
    Outcome::of(findings.into_iter().collect(), "nothing says that they are not filled in on the way")
}

pub(super) fn others(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let names = seen!(facts.other_ways_in);
    let findings = match names.is_empty() {
        true => Vec::new(),
        false => vec![Finding::warning(
            format!(
                "packets for a VIP that come by {} reach what listens on this host, past the program",
                list(names)
            ),
            "`ip link show up`: a host takes its addresses' packets on any interface",
            "drop them there by nftables: docs/operations.md, \"Other interfaces\"",
        )],
    };
    Outcome::of(findings, "none")
}
