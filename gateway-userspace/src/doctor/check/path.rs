//! Whether packets get to the instances, and answers back to clients.

use super::{list, seen, unless, unless_balancer};
use crate::{
    doctor::{
        facts::{Facts, Path, Place, Seen, WayBack},
        graph::Outcome,
        report::Finding,
    },
    model::Forwarding,
};

/// What clients' packets have.
const USUAL: u32 = 1500;

pub(super) fn mtu(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let paths = seen!(facts.paths);
    let mut findings: Vec<_> = paths.iter().filter_map(smaller).collect();
    findings.extend(paths.iter().filter_map(too_small));
    let silent: Vec<_> = paths.iter().filter(|path| !is_answered(path)).map(|path| &path.instance).collect();
    let more = match silent.is_empty() {
        true => String::new(),
        false => format!("; {} answer no ping, so the links between were not tried", list(silent)),
    };
    Outcome::of(findings, format!("{} paths take what they should{more}", paths.len()))
}

fn is_answered(path: &Path) -> bool {
    matches!(path.pings, Seen::Seen([true, _]))
}

/// A link on the way takes less than both ends know.
fn smaller(path: &Path) -> Option<Finding> {
    let Path { instance, dip, interface, mtu, .. } = path;
    matches!(path.pings, Seen::Seen([true, false])).then(|| {
        Finding::error(
            format!("a link on the way to {instance} takes less than {mtu} bytes: larger packets vanish"),
            format!("`ping -M do -s {} {dip}` has no answer, and a small one has", mtu.saturating_sub(28)),
            format!("one MTU all along the way from {interface} to {instance}: switch ports, bridges and tunnels included"),
        )
    })
}

/// What is put around a packet does not fit beside it.
fn too_small(path: &Path) -> Option<Finding> {
    let Path { instance, interface, mtu, overhead, .. } = path;
    let (inside, wanted) = (mtu.saturating_sub(*overhead), USUAL + overhead);
    (*overhead > 0 && inside < USUAL).then(|| {
        Finding::warning(
            format!("packets of more than {inside} bytes do not fit on the way to {instance}: {overhead} are put around each"),
            format!("the MTU of {interface} and its route is {mtu}"),
            format!("ip link set dev {interface} mtu {wanted}, and the same all along the way; until then senders are told by ICMP"),
        )
    })
}

pub(super) fn ways_back(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless(facts, Place::Instance, "no instance is on this host") {
        return elsewhere;
    }
    let (file, ways) = (seen!(facts.file), seen!(facts.ways_back));
    if file.model.balancer.forwarding == Forwarding::Nat {
        return Outcome::Elsewhere(
            "with `nat` answers go through the balancer, by rules of the proxy's".into(),
        );
    }
    Outcome::of(
        ways.iter().filter_map(back).collect(),
        format!("{} networks are answered by where they come from", ways.len()),
    )
}

fn back(way: &WayBack) -> Option<Finding> {
    let WayBack { network, sample, comes_by, leaves_by, is_strict } = way;
    let Some(leaves_by) = leaves_by else {
        return Some(Finding::error(
            format!("there is no route back to clients in {network}: they get no answer"),
            format!("`ip route get {sample}`"),
            format!("ip route add {network} via ROUTER dev {comes_by}"),
        ));
    };
    if leaves_by == comes_by {
        return None;
    }
    let evidence = format!("`ip route get {sample}` says dev {leaves_by}");
    Some(match is_strict {
        true => Finding::error(
            format!(
                "packets of clients in {network} come by {comes_by}, answers would leave by {leaves_by}, and so the kernel drops them"
            ),
            format!("{evidence}, and rp_filter of {comes_by} is 1"),
            format!(
                "sysctl -w net.ipv4.conf.{comes_by}.rp_filter=2 (and `all`, if it is 1), or a route to {network} by {comes_by}"
            ),
        ),
        false => Finding::warning(
            format!("packets of clients in {network} come by {comes_by}, and answers leave by {leaves_by}"),
            evidence,
            format!("a route to {network} by {comes_by}, unless a firewall on neither way minds"),
        ),
    })
}
