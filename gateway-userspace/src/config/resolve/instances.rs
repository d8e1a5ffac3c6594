//! `[[instance]]`: names and DIPs (R33).

use std::{collections::HashMap, net::IpAddr};

use super::{addresses, given_twice, required, required_list};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::{self, File},
    },
    model::{AdminState, Instance, InstanceName, Network},
};

/// As many as the ring and the instance numbers are made for.
const MOST: usize = 4_000;

/// An instance and where its DIPs are written.
#[derive(Debug)]
pub(super) struct Placed {
    /// For the model.
    pub(super) instance: Instance,
    /// One for each of `instance.dip`.
    pub(super) dip_at: Vec<Span>,
}

/// All instances that have a name; faults in the rest have been reported.
pub(super) fn resolve(file: &File, network: &Network, faults: &mut Vec<Fault>) -> Vec<Placed> {
    let written = required_list(&file.instances, "instance", &file.end, faults);
    if let Some(first_too_many) = written.get(MOST) {
        let message = format!("{} instances are too many", written.len());
        let problem = Problem::new(Code::OutOfRange, message).label(format!("expected at most {MOST}"));
        faults.push(problem.at(first_too_many.at.clone()));
    }
    let mut names: HashMap<InstanceName, Span> = HashMap::new();
    let mut owners: HashMap<IpAddr, (usize, Span)> = HashMap::new();
    let mut placed = Vec::new();
    for (number, one) in written.iter().enumerate() {
        let name = required(&one.name, "instance.name", &one.at, faults).cloned();
        if let (Some(name), Some(at)) = (&name, one.name.span()) {
            match names.get(name) {
                Some(first) => faults.push(given_twice(&format!("the instance name `{name}`"), first, &at)),
                None => {
                    names.insert(name.clone(), at);
                }
            }
        }
        let dips = dips(number, one, network, &mut owners, faults);
        if let Some(name) = name {
            let (dip, dip_at) = dips.into_iter().unzip();
            let weight = one.weight.value_or(100);
            let admin_state = one.admin_state.value_or(AdminState::Auto);
            placed.push(Placed { instance: Instance { name, dip, weight, admin_state }, dip_at });
        }
    }
    placed
}

fn dips(
    number: usize,
    one: &file::Instance,
    network: &Network,
    owners: &mut HashMap<IpAddr, (usize, Span)>,
    faults: &mut Vec<Fault>,
) -> Vec<(IpAddr, Span)> {
    let mut dips: Vec<(IpAddr, Span)> = Vec::new();
    for entry in required_list(&one.dip, "instance.dip", &one.at, faults) {
        let (dip, at) = (*entry.get_ref(), entry.span());
        if let Some((owner, first)) = owners.get(&dip) {
            faults.push(if *owner == number {
                given_twice(&format!("the DIP {dip}"), first, &at)
            } else {
                taken(dip, &at, first)
            });
            continue;
        }
        owners.insert(dip, (number, at.clone()));
        if !addresses::in_subnet(dip, network) {
            let message = format!("the DIP {dip} is not in the subnet");
            let problem =
                Problem::new(Code::DipOutsideSubnet, message).label(addresses::expected_subnet(network));
            faults.push(problem.at(at.clone()));
        } else if let Some(problem) = addresses::reserved(dip, network) {
            faults.push(problem.at(at.clone()));
        }
        if let Some((other, first)) = dips.iter().find(|(other, _)| other.is_ipv4() == dip.is_ipv4()) {
            let family = if dip.is_ipv4() { "IPv4" } else { "IPv6" };
            let problem =
                Problem::new(Code::DipFamilyTwice, format!("an instance has one {family} DIP, not two"))
                    .label(format!("beside {other}"))
                    .help("keep the one at which the instance answers ARP or ND on the balancer's link");
            faults.push(problem.at(at.clone()).also(first.clone(), "the first one"));
        }
        dips.push((dip, at));
    }
    dips
}

fn taken(dip: IpAddr, at: &Span, first: &Span) -> Fault {
    Problem::new(Code::DipTaken, format!("the DIP {dip} belongs to another instance"))
        .label("expected an address of this instance's own")
        .at(at.clone())
        .also(first.clone(), "given to that instance here")
}
