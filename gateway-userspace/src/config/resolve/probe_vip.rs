//! What connections through the VIP ask of `[probe]`, of the VIPs and of DIPs.

use std::net::IpAddr;

use super::instances::Placed;
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
    },
    model::{
        DNS_PORT, Dns, Endpoint, HTTP_PORT, HTTPS_PORT, HostPattern, MANAGEMENT_PORT, PlainHttp, Probe,
        ProbeKind, Proxy, Role, Via, Vips,
    },
};

/// What a probe through the VIP is where the file does not say, and reports whatever does not go with it.
pub(super) fn complete(
    probe: Probe,
    file: &File,
    (vip, instances): (&Vips, &[Placed]),
    (endpoints, proxy, dns): (&[Endpoint], &Proxy, &Dns),
    faults: &mut Vec<Fault>,
) -> Probe {
    let written = &file.probe;
    warn(file, &probe, faults);
    let Some(at) = written.via.span().filter(|_| probe.via == Via::Vip).or(written.availability.span())
    else {
        return probe;
    };
    if !probe.uses_data_path() {
        return probe;
    }
    let port = probe.vip_port;
    let port_at = written.vip_port.span().unwrap_or(at.clone());
    if !is_served(port, proxy, dns) {
        let problem = fault(format!("port {port} is not served on the private VIPs")).label(format!(
            "expected {HTTPS_PORT}, {MANAGEMENT_PORT}, or, unless `proxy.http` is `off`, {HTTP_PORT}"
        ));
        faults.push(problem.at(port_at));
        return probe;
    }
    families(file, vip, instances, &at, faults);
    if probe.via != Via::Vip {
        return probe;
    }
    let kind = probe.kind;
    let fits = match kind {
        ProbeKind::Tcp => true,
        ProbeKind::Http => port == HTTP_PORT,
        ProbeKind::Https => port != HTTP_PORT && port != DNS_PORT,
    };
    if !fits {
        let speaks = match port {
            HTTP_PORT => "plain HTTP",
            DNS_PORT => "DNS",
            _ => "TLS",
        };
        let problem = fault(format!("a probe of kind `{kind}` cannot go to port {port} of the VIPs"))
            .label(format!("port {port} speaks {speaks}"));
        faults.push(problem.at(written.kind.span().unwrap_or(port_at)));
    }
    let host = probe.host.clone().or_else(|| first_name(endpoints, port));
    // Without any endpoint that is a fault of its own.
    if host.is_none() && kind != ProbeKind::Tcp && !endpoints.is_empty() {
        let problem = fault(format!("no exact name is served on port {port} that a probe could ask for"))
            .label("needs a name")
            .help("set `probe.host`, or use `probe.kind = \"tcp\"`");
        faults.push(problem.at(at));
    }
    Probe { host: host.filter(|_| kind != ProbeKind::Tcp), ..probe }
}

fn fault(message: String) -> Problem {
    Problem::new(Code::ProbeVip, message)
}

fn is_served(port: u16, proxy: &Proxy, dns: &Dns) -> bool {
    match port {
        HTTPS_PORT | MANAGEMENT_PORT => true,
        HTTP_PORT => proxy.http != PlainHttp::Off,
        DNS_PORT => dns.serve,
        _ => false,
    }
}

/// Of the roles on that port, in the order of the file.
fn first_name(endpoints: &[Endpoint], port: u16) -> Option<String> {
    let there = endpoints.iter().filter(|one| port != MANAGEMENT_PORT || one.role == Role::Management);
    there.flat_map(|one| &one.hosts).find_map(|host| match host {
        HostPattern::Exact(name) => Some(name.clone()),
        HostPattern::Wildcard(_) => None,
    })
}

/// A socket is connected to an address of the VIP's family.
fn families(file: &File, vip: &Vips, instances: &[Placed], at: &Span, faults: &mut Vec<Fault>) {
    if vip.private.is_empty() && file.vip.private.span().is_none() {
        faults.push(
            fault("there is no private VIP to connect to".to_owned())
                .label("needs `vip.private`")
                .at(at.clone()),
        );
    }
    for (name, is_family) in [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)] {
        let Some(vip) = vip.private.iter().find(|vip| is_family(vip)) else { continue };
        for Placed { instance, dip_at } in instances {
            // An instance without any DIP is a fault of its own.
            let Some(at) = dip_at.first().filter(|_| !instance.dip.iter().any(is_family)) else { continue };
            let problem = fault(format!(
                "{} has no {name} address, so no connection through the VIP {vip} can be made to it",
                instance.name
            ))
            .label(format!("expected a DIP of {name} too"));
            faults.push(problem.at(at.clone()));
        }
    }
}

fn warn(file: &File, probe: &Probe, faults: &mut Vec<Fault>) {
    let written = &file.probe;
    let useless = [
        ("availability", written.availability.span(), probe.via == Via::Vip, "the probes are counted"),
        ("vip_port", written.vip_port.span(), !probe.uses_data_path(), "nothing goes there"),
    ];
    for (key, at, is_useless, why) in useless {
        if let (Some(at), true) = (at, is_useless) {
            let message = format!("`probe.{key}` has no effect: {why}");
            faults.push(Problem::new(Code::ProbeKey, message).label("has no effect").at(at));
        }
    }
}
