//! `[snat]`: whether there are addresses to leave by, and enough ports for all (R31, R34).

use std::time::Duration;

use super::instances::Placed;
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Snat, Vips},
    snat,
};

/// None: it is off, or something is wrong with it.
pub(super) fn resolve(
    file: &File,
    vip: &Vips,
    instances: &[Placed],
    faults: &mut Vec<Fault>,
) -> Option<Snat> {
    let ports = ports(file, instances.len(), faults);
    let (true, Some(at)) = (file.snat.enabled.value() == Some(&true), file.snat.enabled.span()) else {
        return None;
    };
    public_vips(file, vip, instances, &at, faults);
    balancers(file, instances.len(), &at, faults);
    let return_after = file.snat.return_after.value_or(Duration::from_secs(300));
    Some(Snat { ports_per_instance: ports, return_after })
}

fn ports(file: &File, instances: usize, faults: &mut Vec<Fault>) -> u16 {
    let written = file.snat.ports_per_instance.given();
    let ports = written.map_or(Snat::default_ports(instances), |written| *written.get_ref());
    let wrong = |message: String, label: &str| Problem::new(Code::OutOfRange, message).label(label);
    if let Some(at) = written.filter(|_| !ports.is_multiple_of(8)) {
        let message =
            format!("`snat.ports_per_instance` cannot be {ports}: ports are given out in blocks of 8");
        let help = format!("for example {}", ports.next_multiple_of(8));
        faults.push(wrong(message, "expected a multiple of 8").help(help).at(at.span()));
    }
    let there_are = snat::pool().len() * 8;
    let fit = (there_are / instances.max(1) / 8 * 8).min(usize::from(u16::MAX));
    let place = written.map(toml::Spanned::span).or_else(|| file.snat.enabled.span());
    let is_too_much = usize::from(ports) > fit && file.snat.enabled.value() == Some(&true);
    if let (true, Some(at)) = (is_too_much, place) {
        let message = format!(
            "{instances} instances with {ports} SNAT ports each are more than the {there_are} of a public VIP"
        );
        let problem = match fit {
            0 => wrong(message, "expected fewer instances"),
            _ => wrong(message, &format!("expected `ports_per_instance` of at most {fit}")),
        };
        faults.push(problem.help("leave some for those that need more at times").at(at));
    }
    ports
}

fn public_vips(file: &File, vip: &Vips, instances: &[Placed], at: &Span, faults: &mut Vec<Fault>) {
    if vip.public.is_empty() {
        // Whatever was refused there may have been meant as one.
        if !matches!(file.vip.public, Key::Refused(_)) {
            let problem = Problem::new(Code::Snat, "SNAT needs a public VIP: flows leave with its address")
                .label("there is no `vip.public`")
                .help("add `public` to `[vip]`, or write `false`");
            faults.push(problem.at(at.clone()));
        }
        return;
    }
    let dips = || instances.iter().flat_map(|one| &one.instance.dip);
    for (is_ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let has_vip = vip.public.iter().any(|vip| vip.is_ipv4() == is_ipv4);
        let Some(dip) = dips().find(|dip| dip.is_ipv4() == is_ipv4).filter(|_| !has_vip) else { continue };
        let message = format!("flows over {family} leave with the instances' own addresses, such as {dip}");
        let problem = Problem::new(Code::SnatFamily, message)
            .label(format!("there is no {family} address in `vip.public`"))
            .help("add one, or leave out the instances' addresses of that family");
        faults.push(problem.at(at.clone()));
    }
}

/// Instances take leases from balancers that they know, and these share the ports by their list.
fn balancers(file: &File, instances: usize, at: &Span, faults: &mut Vec<Fault>) {
    if instances > 1 && matches!(file.balancer.address, Key::Absent) {
        let problem =
            Problem::new(Code::Snat, "SNAT needs `balancer.address`: instances take ports from there")
                .label("expected the own addresses of all balancers in `[balancer] address`")
                .help("what `ip address` shows on their interface, such as `address = [\"10.0.0.2\"]`");
        faults.push(problem.at(at.clone()));
    }
}
