//! `[dns]`: what a name server asks of addresses and ports.

use std::net::{IpAddr, SocketAddr};

use toml::Spanned;

use super::{list, values};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file::File,
    },
    model::{Balancer, DNS_PORT, Dns, Forwarding, Vips},
};

/// Servers that are asked one after the other; a client gives up before more of them have not answered.
const MOST: usize = 4;

/// The table, checked against those who listen on the same hosts.
pub(super) fn resolve(file: &File, vip: &Vips, balancer: Option<&Balancer>, faults: &mut Vec<Fault>) -> Dns {
    let default = Dns::default();
    let dns = Dns {
        serve: file.dns.serve.value_or(default.serve),
        forward: list(&file.dns.forward),
        ttl: file.dns.ttl.value_or(default.ttl),
        name_servers: list(&file.dns.name_servers),
        serial: file.dns.serial.value().copied(),
        rate: file.dns.rate.value_or(default.rate),
    };
    forward(file, vip, faults);
    if dns.serve {
        ports(file, vip, balancer, faults);
    } else {
        unused(file, faults);
    }
    dns
}

/// A question that comes back to who has asked goes round until somebody gives up.
fn forward(file: &File, vip: &Vips, faults: &mut Vec<Fault>) {
    let written = file.dns.forward.value().map_or(&[][..], Vec::as_slice);
    let instances = file.instances.value().into_iter().flatten();
    let dips: Vec<IpAddr> =
        instances.filter_map(|one| one.dip.value()).flat_map(|dips| values(dips)).collect();
    for (index, server) in written.iter().enumerate() {
        let address = *server.get_ref();
        if let Some(first) = written[..index].iter().find(|first| *first.get_ref() == address) {
            faults.push(super::given_twice(&format!("the server {address}"), &first.span(), &server.span()));
        }
        if let Some(whose) = ours(address, vip, &dips) {
            let problem =
                Problem::new(Code::DnsForward, format!("questions would come back: {address} is {whose}"))
                    .label("expected a server that does not ask us")
                    .help("the network's own resolver, such as `forward = [\"10.0.0.2\"]`");
            faults.push(problem.at(server.span()));
        }
    }
    if let (true, Some(at)) = (written.len() > MOST, file.dns.forward.span()) {
        let problem = Problem::new(Code::OutOfRange, format!("{} servers are too many", written.len()))
            .label(format!("expected at most {MOST}"));
        faults.push(problem.at(at));
    }
}

fn ours(server: SocketAddr, vip: &Vips, dips: &[IpAddr]) -> Option<&'static str> {
    if vip.all().any(|vip| vip == server.ip()) {
        Some("a VIP")
    } else if dips.contains(&server.ip()) {
        Some("an instance's DIP")
    } else {
        None
    }
}

/// Port 53 of the private VIPs, and with `nat` what stands for it on the instances, is the name server's.
fn ports(file: &File, vip: &Vips, balancer: Option<&Balancer>, faults: &mut Vec<Fault>) {
    if let Some(balancer) = balancer {
        let admin = balancer.admin;
        let same = admin.ip().is_unspecified() || vip.private.contains(&admin.ip());
        if let (true, Some(at)) = (admin.port() == DNS_PORT && same, file.balancer.admin.span()) {
            let problem = taken(format!(
                "{admin} takes port {DNS_PORT} of the private VIPs, where `dns.serve` answers"
            ));
            faults.push(problem.at(at));
        }
    }
    let (Some(at), Some(probe)) = (file.probe.port.span(), file.probe.port.value()) else { return };
    let is_nat = file.balancer.forwarding.value() == Some(&Forwarding::Nat);
    let written = file.vip.private.value().into_iter().flatten().map(Spanned::get_ref);
    let stands_for = |address: &&IpAddr| vip.backend_port(**address, DNS_PORT) == Some(*probe);
    if let Some(address) = written.filter(|_| is_nat).find(stands_for) {
        let problem =
            taken(format!("with nat port {probe} of an instance stands for port {DNS_PORT} of {address}"));
        faults.push(problem.at(at));
    }
}

fn taken(message: String) -> Problem {
    Problem::new(Code::DnsPort, message).label("expected another port")
}

/// Keys of a server that is not there. `ttl`, `name_servers` and `serial` are of `gateway dns zone` too.
fn unused(file: &File, faults: &mut Vec<Fault>) {
    let forward =
        file.dns.forward.span().filter(|_| file.dns.forward.value().is_none_or(|list| !list.is_empty()));
    let keys = [("forward", forward), ("rate", file.dns.rate.span())];
    for (key, at) in keys.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        let message =
            format!("the instances do not answer DNS, so `dns.{key}` is for `gateway dns serve` alone");
        let problem = Problem::new(Code::DnsKey, message)
            .label("does nothing at the instances")
            .help("add `serve = true` to `[dns]` if they shall answer");
        faults.push(problem.at(at));
    }
}
