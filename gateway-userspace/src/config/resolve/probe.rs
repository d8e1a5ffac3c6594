//! `[probe]`

use std::time::Duration;

use super::required;
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file::{self, File},
        read::Key,
    },
    model::{HTTP_PORT, HTTPS_PORT, HealthCheck, MANAGEMENT_PORT, Probe, ProbeKind, Via},
};

/// Defaults, what port, interval and timeout must be, and what the kind makes of the other keys.
pub(super) fn probe(file: &File, faults: &mut Vec<Fault>) -> Probe {
    let written = &file.probe;
    let default = Probe::default();
    let via = written.via.value_or(default.via);
    let kind = match via {
        Via::Instance => default.kind,
        Via::Vip if written.vip_port.value() == Some(&HTTP_PORT) => ProbeKind::Http,
        Via::Vip => ProbeKind::Https,
    };
    let probe = Probe {
        kind: written.kind.value_or(kind),
        version: default.version,
        via,
        port: written.port.value_or(default.port),
        vip_port: written.vip_port.value_or(default.vip_port),
        path: written.path.value_or(default.path),
        host: written.host.value().cloned(),
        status: written.status.value_or(default.status),
        verify: written.verify.value_or(default.verify),
        interval: written.interval.value_or(default.interval),
        timeout: written.timeout.value_or(default.timeout),
        rise: written.rise.value_or(default.rise),
        fall: written.fall.value_or(default.fall),
        on_down: written.on_down.value_or(default.on_down),
        all_down: written.all_down.value_or(default.all_down),
        panic: written.panic.value().and_then(|share| u8::try_from(*share).ok()).unwrap_or(default.panic),
        slow_start: written.slow_start.value_or(default.slow_start),
        availability: written.availability.value().copied(),
    };
    if let (HTTP_PORT | HTTPS_PORT | MANAGEMENT_PORT, Some(at)) = (probe.port, written.port.span()) {
        let message = format!("port {} serves clients, probes need one of their own", probe.port);
        let problem = Problem::new(Code::ProbePort, message)
            .label(format!("expected a port other than {HTTP_PORT}, {HTTPS_PORT} and {MANAGEMENT_PORT}"));
        faults.push(problem.at(at));
    }
    check_timeout(&written.timeout, &written.interval, (probe.timeout, probe.interval), faults);
    warn_of_other_kinds(written, probe.kind, faults);
    probe
}

/// Keys that this kind of probe makes nothing of.
fn warn_of_other_kinds(written: &file::Probe, kind: ProbeKind, faults: &mut Vec<Fault>) {
    let requests = kind != ProbeKind::Tcp;
    let keys = [
        ("path", written.path.span(), requests),
        ("host", written.host.span(), requests),
        ("status", written.status.span(), requests),
        ("verify", written.verify.span(), kind == ProbeKind::Https),
    ];
    for (key, at, used) in keys {
        if let (Some(at), false) = (at, used) {
            let message = format!("`probe.{key}` has no effect on a `{kind}` probe");
            faults.push(Problem::new(Code::ProbeKey, message).label("of another kind of probe").at(at));
        }
    }
}

/// How a route's upstreams are probed.
pub(super) fn health(written: &file::Health, faults: &mut Vec<Fault>) -> Option<HealthCheck> {
    let path = required(&written.path, "endpoint.routes.health.path", &written.at, faults);
    let default = Probe::default();
    let check = HealthCheck {
        path: path.cloned().unwrap_or_default(),
        host: written.host.value().cloned(),
        status: written.status.value_or(default.status),
        interval: written.interval.value_or(default.interval),
        timeout: written.timeout.value_or(default.timeout),
        rise: written.rise.value_or(default.rise),
        fall: written.fall.value_or(default.fall),
    };
    check_timeout(&written.timeout, &written.interval, (check.timeout, check.interval), faults);
    path.is_some().then_some(check)
}

/// Of upstreams that are passed through to: nothing is said on a connection but that it is there.
pub(super) fn health_by_connecting(written: &file::ConnectHealth, faults: &mut Vec<Fault>) -> HealthCheck {
    let default = Probe::default();
    let check = HealthCheck {
        path: String::new(),
        host: None,
        status: default.status,
        interval: written.interval.value_or(default.interval),
        timeout: written.timeout.value_or(default.timeout),
        rise: written.rise.value_or(default.rise),
        fall: written.fall.value_or(default.fall),
    };
    check_timeout(&written.timeout, &written.interval, (check.timeout, check.interval), faults);
    check
}

/// The caret stands at whichever of the two is written.
fn check_timeout(
    written_timeout: &Key<Duration>,
    written_interval: &Key<Duration>,
    (timeout, interval): (Duration, Duration),
    faults: &mut Vec<Fault>,
) {
    let Some(at) = written_timeout.span().or_else(|| written_interval.span()) else { return };
    if timeout <= interval {
        return;
    }
    let [timeout, interval] = [timeout, interval].map(humantime::format_duration);
    let message = format!("the probe's timeout, {timeout}, is longer than its interval, {interval}");
    let problem = Problem::new(Code::ProbeTimeout, message)
        .label(format!("expected a timeout of at most {interval}"))
        .help("a probe has to be over before the next one begins");
    faults.push(problem.at(at));
}
