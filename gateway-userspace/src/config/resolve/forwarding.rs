//! What a forwarding mode asks of addresses and ports: `balancer.address`, and with `nat` DIPs and ports on the
//! instances.

use std::net::IpAddr;

use toml::Spanned;

use super::addresses::reserved;
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Forwarding, MANAGEMENT_PORT, Network, PORTS, Probe, Vips},
};

/// Reports whatever does not go with the mode.
pub(super) fn check(file: &File, network: &Network, vip: &Vips, probe: &Probe, faults: &mut Vec<Fault>) {
    let dips = dips(file);
    own_addresses(file, network, vip, &dips, faults);
    let mode = file.balancer.forwarding.value_or(Forwarding::L2);
    if mode != Forwarding::L2 {
        one_of_each_family(file, mode, &dips, faults);
    }
    if mode == Forwarding::Nat {
        backend_ports(file, vip, probe, faults);
        dip_of_each_family(file, vip, faults);
    }
}

/// Every DIP and its place.
fn dips(file: &File) -> Vec<(IpAddr, Span)> {
    let instances = file.instances.value().into_iter().flatten();
    let written = instances.filter_map(|one| one.dip.value()).flatten();
    written.map(|dip| (*dip.get_ref(), dip.span())).collect()
}

fn own_addresses(
    file: &File,
    network: &Network,
    vip: &Vips,
    dips: &[(IpAddr, Span)],
    faults: &mut Vec<Fault>,
) {
    let written = file.balancer.address.value().map_or(&[][..], Vec::as_slice);
    for (index, own) in written.iter().enumerate() {
        let (address, at) = (*own.get_ref(), own.span());
        let clash = |what: &str| {
            Problem::new(Code::AddressClash, format!("{address} is a balancer's own address and {what}"))
                .label("expected an address that the balancer's host has anyway")
        };
        if let Some(first) = written[..index].iter().find(|first| *first.get_ref() == address) {
            faults.push(super::given_twice(&format!("the address {address}"), &first.span(), &at));
        } else if vip.all().any(|vip| vip == address) {
            faults.push(clash("a VIP").at(at));
        } else if let Some((_, dip_at)) = dips.iter().find(|(dip, _)| *dip == address) {
            faults.push(clash("an instance's DIP").at(at).also(dip_at.clone(), "the DIP"));
        } else if let Some(problem) = reserved(address, network) {
            faults.push(problem.at(at));
        } else if !network.subnet.is_empty() && !network.inside().any(|net| net.contains(&address)) {
            let message = format!("the balancer's address {address} is not inside");
            let problem = Problem::new(Code::BalancerAddress, message)
                .label("expected an address from `network.subnet`, `vnet` or `peered`");
            faults.push(problem.at(at));
        }
    }
}

fn one_of_each_family(file: &File, mode: Forwarding, dips: &[(IpAddr, Span)], faults: &mut Vec<Fault>) {
    let written = match &file.balancer.address {
        Key::Refused(_) => return,
        key => key.value().map_or(&[][..], Vec::as_slice),
    };
    let place = file.balancer.address.span().unwrap_or(file.balancer.at.clone());
    for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let has = |address: &Spanned<IpAddr>| address.get_ref().is_ipv4() == is_ipv4;
        if let (false, Some((dip, at))) =
            (written.iter().any(has), dips.iter().find(|(dip, _)| dip.is_ipv4() == is_ipv4))
        {
            let message =
                format!("`forwarding = \"{mode}\"` needs an {family} address in `balancer.address`");
            let problem = Problem::new(Code::BalancerAddress, message)
                .label("expected the own addresses of all balancers")
                .help("what `ip address` shows on their interface, such as `address = [\"10.0.0.2\"]`");
            faults.push(problem.at(place.clone()).also(at.clone(), format!("{dip} is an {family} address")));
        }
    }
}

fn backend_ports(file: &File, vip: &Vips, probe: &Probe, faults: &mut Vec<Fault>) {
    // All of them whatever the mode, so that it can be switched under living flows.
    let served = || {
        let written = [&file.vip.private, &file.vip.public].into_iter().filter_map(|list| list.value());
        written.flatten().flat_map(|vip| PORTS.map(|port| (vip, port)))
    };
    let stands_for = |(address, port): &(&Spanned<IpAddr>, u16)| vip.backend_port(*address.get_ref(), *port);
    // The highest of a VIP's ports.
    for (address, _) in served().filter(|one| one.1 == MANAGEMENT_PORT && stands_for(one).is_none()) {
        let message = format!("with nat there are no ports on the instances left for {}", address.get_ref());
        let problem = Problem::new(Code::BackendPort, message)
            .label("expected at most three VIPs of a kind and address family");
        faults.push(problem.at(address.span()));
    }
    let taken = served().find(|one| stands_for(one) == Some(probe.port));
    if let (Some((address, port)), Some(at)) = (taken, file.probe.port.span()) {
        let (probed, vip) = (probe.port, address.get_ref());
        let message = format!("with nat port {probed} of an instance stands for port {port} of {vip}");
        faults.push(Problem::new(Code::ProbePort, message).label("expected another port").at(at));
    }
}

fn dip_of_each_family(file: &File, vip: &Vips, faults: &mut Vec<Fault>) {
    for one in file.instances.value().into_iter().flatten() {
        let (Some(name), Some(dips)) = (one.name.value(), one.dip.given()) else { continue };
        for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
            let has = |dip: &Spanned<IpAddr>| dip.get_ref().is_ipv4() == is_ipv4;
            let needing = vip.all().find(|vip| vip.is_ipv4() == is_ipv4);
            if let (Some(vip), false, false) =
                (needing, dips.get_ref().is_empty(), dips.get_ref().iter().any(has))
            {
                let message = format!("with nat {name} needs an {family} DIP: {vip} is an {family} VIP");
                let problem = Problem::new(Code::DipFamilyMissing, message)
                    .label(format!("expected an {family} address too"))
                    .help(format!("add one, or leave out the {family} VIPs"));
                faults.push(problem.at(dips.span()));
            }
        }
    }
}
