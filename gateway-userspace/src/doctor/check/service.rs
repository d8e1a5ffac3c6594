//! The service as clients find it.

use std::net::IpAddr;

use super::{list, seen, unless, unless_balancer};
use crate::{
    dns::check::State as Word,
    doctor::{
        facts::{Door, Facts, Listener, Place, Seen, Tried},
        graph::Outcome,
        report::Finding,
    },
    explain::document::Verdict,
};

pub(super) fn balancer(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let file = seen!(facts.file);
    match seen!(facts.status) {
        Some(status) => Outcome::Fine(format!("{}, generation {}", status.state.as_str(), status.generation)),
        None => Outcome::Found(vec![Finding::error(
            "`gateway balance` does not run here",
            "nobody answers at its socket",
            format!(
                "gateway balance --config {}; before its first start `gateway doctor --preflight`",
                file.path
            ),
        )]),
    }
}

pub(super) fn instances(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let Some(status) = seen!(facts.status) else {
        return Outcome::Unknown("the balancer does not run".into());
    };
    let is_served = status.vips.iter().any(|vip| vip.ready);
    let finding = |trouble: &String| {
        let (evidence, remedy) = ("`gateway status`", "what the sentence says; then `gateway status` again");
        if is_served {
            Finding::warning(trouble, evidence, remedy)
        } else {
            Finding::error(trouble, evidence, remedy)
        }
    };
    let takers = status.instances.iter().filter(|one| one.buckets > 0).count();
    Outcome::of(status.trouble.iter().map(finding).collect(), format!("{takers} take flows"))
}

/// R62: open from inside and, where it is asked for, from outside.
pub(super) fn management(facts: &Facts) -> Outcome {
    let mut findings = Vec::new();
    let mut open = Vec::new();
    for Door { at, from, tried } in &facts.management {
        let tried = match tried {
            Seen::Seen(tried) => tried,
            Seen::Unseen(why) => return Outcome::Unknown(why.clone()),
        };
        let closed = |why: &str| {
            Finding::error(
                format!("{at} is closed from {from}: {why}"),
                format!("a connection from here (`curl -vk https://{at}/`)"),
                format!(
                    "on the balancer: `gateway doctor`, and `gateway explain --to {at}` with this host's address as `--from`; \
                     between: firewalls and routes"
                ),
            )
        };
        match tried {
            Tried::Connected => open.push(format!("{at} from {from}")),
            Tried::Failed(why) => findings.push(closed(why)),
            Tried::Silent => findings.push(closed("nobody answers")),
            Tried::Explained(told) if told.verdict == Verdict::Forward => {
                open.push(format!("{at} from {from}"));
            }
            Tried::Explained(told) => findings.push(Finding::error(
                format!("{at} is closed from {from}: {}", told.summary),
                format!("`gateway explain --from {from}:40000 --to {at}`"),
                told.reason
                    .as_ref()
                    .map_or_else(|| "see `gateway status`".to_owned(), |reason| reason.remedy.clone()),
            )),
        }
    }
    if findings.is_empty() && open.is_empty() {
        return Outcome::Elsewhere("it is not tried from here: try on the balancer, or on a client".into());
    }
    Outcome::of(findings, format!("open: {}", list(open)))
}

pub(super) fn names(facts: &Facts) -> Outcome {
    let report = seen!(facts.names);
    let is_expected = |address: &IpAddr| report.expected.contains(address);
    let wrong = report.checks.iter().filter(|check| check.state != Word::Fine);
    let finding = |check: &crate::dns::check::Check| {
        let heard = match check.addresses.is_empty() {
            true => "nothing".to_owned(),
            false => list(&check.addresses),
        };
        Finding::error(
            format!("{} does not lead to the VIP: {}", check.name, check.state.as_str()),
            format!(
                "{} says {heard} (`dig @{} {}`)",
                check.server,
                check.server.split(':').next().unwrap_or_default(),
                check.name
            ),
            check.remedy.clone().unwrap_or_else(|| "`gateway dns check`".to_owned()),
        )
    };
    let right = report.checks.iter().filter(|check| check.addresses.iter().all(is_expected)).count();
    Outcome::of(wrong.map(finding).collect(), format!("{right} names lead to {}", list(&report.expected)))
}

pub(super) fn listeners(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless(facts, Place::Instance, "no instance is on this host") {
        return elsewhere;
    }
    let finding = |Listener { at, process }: &Listener| {
        let port = at.port();
        Finding::error(
            format!("{process} listens at {at}, where the proxy is to"),
            format!("`ss -ltnp sport = :{port}`"),
            "stop it, or give it another port or an address of its own",
        )
    };
    Outcome::of(seen!(facts.listeners).iter().map(finding).collect(), "nobody else's")
}
