//! `[[endpoint]]` with `mode = "passthrough"`: names whose TLS ends at an upstream.

use std::collections::HashMap;

use super::{
    endpoints::{Owners, hosts},
    given_twice, probe, required_list, values,
};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file,
    },
    model::{Passthrough, ProxyProtocol, Role, Route, Service, Upstream, UpstreamScheme},
};

/// Names and upstreams of such an endpoint.
pub(super) fn resolve(
    written: &file::Endpoint,
    role: Option<Role>,
    service: Option<&Service>,
    owners: &mut Owners,
    faults: &mut Vec<Fault>,
) -> Option<Passthrough> {
    for (key, at) in [
        ("certificate", written.certificate.span()),
        ("client_ca", written.client_ca.span()),
        ("client_certificate", written.client_certificate.span()),
        ("routes", written.routes.span()),
    ] {
        if let Some(at) = at {
            let problem = Problem::new(Code::EndpointMode, format!("`{key}` has no use with passthrough"))
                .label("TLS ends at the upstream")
                .help("remove it, or remove `mode`");
            faults.push(
                problem.at(at).also(written.mode.span().unwrap_or(written.at.clone()), "passed through"),
            );
        }
    }
    let upstream = required_list(&written.upstream, "endpoint.upstream", &written.at, faults);
    let backup = written.backup.value().map_or(&[][..], Vec::as_slice);
    let mut known: HashMap<&Upstream, Span> = HashMap::new();
    for entry in upstream.iter().chain(backup) {
        let (one, at) = (entry.get_ref(), entry.span());
        if one.scheme != UpstreamScheme::Tcp {
            let problem = Problem::new(Code::EndpointMode, format!("`{one}` is not spoken to through TLS"))
                .label("expected `tcp://HOST:PORT`")
                .help(format!("did you mean `\"tcp://{}\"`?", one.address));
            faults.push(problem.at(at.clone()));
        }
        if let Some(first) = known.insert(one, at.clone()) {
            faults.push(given_twice(&format!("the upstream `{one}`"), &first, &at));
        }
        if known.len() == Route::MOST_UPSTREAMS + 1 {
            let problem = Problem::new(Code::OutOfRange, "the endpoint has too many upstreams")
                .label(format!("expected at most {}", Route::MOST_UPSTREAMS));
            faults.push(problem.at(at));
        }
    }
    let role = role?;
    let at = written.role.span().unwrap_or(written.at.clone());
    Some(Passthrough {
        role,
        hosts: hosts(written, role, service, &at, owners, faults),
        upstream: values(upstream),
        backup: values(backup),
        health: written.health.as_ref().map(|written| probe::health_by_connecting(written, faults)),
        proxy_protocol: written.proxy_protocol.value_or(ProxyProtocol::None),
    })
}

/// Keys that only such an endpoint has, at another one.
pub(super) fn refuse_keys(written: &file::Endpoint, faults: &mut Vec<Fault>) {
    for (key, at) in [
        ("upstream", written.upstream.span()),
        ("backup", written.backup.span()),
        ("health", written.health.as_ref().map(|health| health.at.clone())),
        ("proxy_protocol", written.proxy_protocol.span()),
    ] {
        if let Some(at) = at {
            let problem = Problem::new(Code::EndpointMode, format!("`{key}` is for passthrough"))
                .label("at an endpoint whose TLS ends here")
                .help("add `mode = \"passthrough\"`, or write the upstreams in `routes`");
            faults.push(problem.at(at));
        }
    }
}
