//! `[balancer]` and `[probe]`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{list, required};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file::{self, File},
        read::Key,
    },
    model::{
        Affinity, Balancer, Forwarding, HTTP_PORT, HTTPS_PORT, Interfaces, MANAGEMENT_PORT, Probe, ProbeKind,
        Service,
    },
};

/// None where the interface is not known or nothing to seed with.
pub(super) fn balancer(file: &File, service: Option<&Service>, faults: &mut Vec<Fault>) -> Option<Balancer> {
    let written = &file.balancer;
    Some(Balancer {
        interfaces: interfaces(written, faults)?,
        forwarding: written.forwarding.value_or(Forwarding::L2),
        address: list(&written.address),
        affinity: written.affinity.value_or(Affinity::FiveTuple),
        management_sources: list(&written.management_sources),
        drain: written.drain.value_or(Duration::from_secs(3_600)),
        admin: written.admin.value_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 9180))),
        seed: written.seed.value_or(service?.name.clone()),
    })
}

/// One, or two different ones.
fn interfaces(written: &file::Balancer, faults: &mut Vec<Fault>) -> Option<Interfaces> {
    let (inside, outside) = (&written.inside, &written.outside);
    let problem = |message: &str, label: &str| Problem::new(Code::Interfaces, message).label(label);
    let Some(first) = inside.span().or_else(|| outside.span()) else {
        let name = required(&written.interface, "balancer.interface", &written.at, faults)?;
        return Some(Interfaces::One(name.clone()));
    };
    if let Some(at) = written.interface.span() {
        let both = problem(
            "`interface` stands for both sides, `inside` and `outside` for one each",
            "expected either",
        )
        .help("remove `interface`, or the other two");
        faults.push(both.at(at).also(first, "the other"));
        return None;
    }
    for (missing, there, name) in [(inside, outside, "inside"), (outside, inside, "outside")] {
        if let (Key::Absent, Some(at)) = (missing, there.span()) {
            let message = format!("`balancer.{name}` is missing");
            let label = "one of two interfaces";
            faults.push(
                problem(&message, label).help("write `interface` if there is one for both sides").at(at),
            );
        }
    }
    let (inside, outside) = (inside.given()?, outside.given()?);
    if inside.get_ref() == outside.get_ref() {
        let same = problem("`inside` and `outside` are one interface", "expected another one than `inside`")
            .help("write `interface` if there is one for both sides");
        faults.push(same.at(outside.span()).also(inside.span(), "inside"));
        return None;
    }
    Some(Interfaces::Two { inside: inside.get_ref().clone(), outside: outside.get_ref().clone() })
}

/// Defaults, and what port, interval and timeout must be.
pub(super) fn probe(file: &File, faults: &mut Vec<Fault>) -> Probe {
    let written = &file.probe;
    let probe = Probe {
        kind: written.kind.value_or(ProbeKind::Http),
        port: written.port.value_or(8080),
        path: written.path.value_or("/status-0123456789abcdef".to_owned()),
        interval: written.interval.value_or(Duration::from_secs(2)),
        timeout: written.timeout.value_or(Duration::from_secs(1)),
        rise: written.rise.value_or(2),
        fall: written.fall.value_or(3),
    };
    if let (HTTP_PORT | HTTPS_PORT | MANAGEMENT_PORT, Some(at)) = (probe.port, written.port.span()) {
        let message = format!("port {} serves clients, probes need one of their own", probe.port);
        let problem = Problem::new(Code::ProbePort, message)
            .label(format!("expected a port other than {HTTP_PORT}, {HTTPS_PORT} and {MANAGEMENT_PORT}"));
        faults.push(problem.at(at));
    }
    check_timeout(written, &probe, faults);
    warn_of_keys_to_come(written, faults);
    probe
}

/// One warning for all of them, at the first one in the file.
fn warn_of_keys_to_come(written: &file::Probe, faults: &mut Vec<Fault>) {
    let keys = [written.interval.span(), written.timeout.span(), written.rise.span(), written.fall.span()];
    if let Some(at) = keys.into_iter().flatten().min_by_key(|span| span.start) {
        let message =
            "`interval`, `timeout`, `rise` and `fall` have no effect yet: the balancer does not probe";
        let problem = Problem::new(Code::ProbesToCome, message)
            .label("until it does, an instance counts as healthy")
            .help("take an instance out of service with `admin_state = \"down\"`");
        faults.push(problem.at(at));
    }
}

/// The caret stands at whichever of the two is written.
fn check_timeout(written: &file::Probe, probe: &Probe, faults: &mut Vec<Fault>) {
    let Some(at) = written.timeout.span().or_else(|| written.interval.span()) else { return };
    if probe.timeout <= probe.interval {
        return;
    }
    let [timeout, interval] = [probe.timeout, probe.interval].map(humantime::format_duration);
    let message = format!("the probe's timeout, {timeout}, is longer than its interval, {interval}");
    let problem = Problem::new(Code::ProbeTimeout, message)
        .label(format!("expected a timeout of at most {interval}"))
        .help("a probe has to be over before the next one begins");
    faults.push(problem.at(at));
}
