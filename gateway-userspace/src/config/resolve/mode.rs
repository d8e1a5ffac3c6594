//! What `service.mode` asks of the rest of the file (R1): `external` a public VIP, `none` that nothing is said of VIPs and a
//! balancer, which there are none of.

use super::{balancer, missing};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Affinity, Balancer, Forwarding, Interfaces, Mode, Service},
};

/// Reports what the mode lacks, and what it has no use for.
pub(super) fn check(file: &File, mode: Mode, faults: &mut Vec<Fault>) {
    let empty = match &file.vip.public {
        Key::Refused(_) => false,
        key => key.value().is_none_or(Vec::is_empty),
    };
    match mode {
        Mode::Internal => {}
        Mode::External if empty => {
            let at = file.vip.public.span().unwrap_or(file.vip.at.clone());
            faults.push(missing("vip.public").label("in external mode clients enter there").at(at));
        }
        Mode::External => {}
        Mode::None => refuse(file, faults),
    }
}

/// R1: who writes a list of networks wants it to hold, and in mode `none` nobody would keep others out.
fn refuse(file: &File, faults: &mut Vec<Fault>) {
    let written: Vec<_> = keys(file).into_iter().filter_map(|(key, at)| Some((key, at?))).collect();
    let mode_at = file.service.mode.span();
    for (key, at) in written {
        let problem = Problem::new(Code::ModeKey, format!("`{key}` has no use with `mode = \"none\"`"))
            .label("there are no VIPs, and no balancer, in this mode")
            .help("remove it, or choose another mode");
        let fault = problem.at(at);
        faults.push(match &mode_at {
            Some(mode) => fault.also(mode.clone(), "the mode"),
            None => fault,
        });
    }
}

/// Each key of what only a balancer does, and where it is written.
fn keys(file: &File) -> Vec<(&'static str, Option<Span>)> {
    let File { network, vip, balancer, probe, .. } = file;
    let weights =
        file.instances.value().into_iter().flatten().map(|one| ("instance.weight", one.weight.span()));
    let keys = [
        ("network.subnet", network.subnet.span()),
        ("network.vnet", network.vnet.span()),
        ("network.peered", network.peered.span()),
        ("vip.private", vip.private.span()),
        ("vip.public", vip.public.span()),
        ("balancer.interface", balancer.interface.span()),
        ("balancer.inside", balancer.inside.span()),
        ("balancer.outside", balancer.outside.span()),
        ("balancer.forwarding", balancer.forwarding.span()),
        ("balancer.address", balancer.address.span()),
        ("balancer.affinity", balancer.affinity.span()),
        ("balancer.management_sources", balancer.management_sources.span()),
        ("balancer.admin", balancer.admin.span()),
        ("balancer.tokens", balancer.tokens.span()),
        ("balancer.seed", balancer.seed.span()),
        ("probe.kind", probe.kind.span()),
        ("probe.via", probe.via.span()),
        ("probe.vip_port", probe.vip_port.span()),
        ("probe.host", probe.host.span()),
        ("probe.status", probe.status.span()),
        ("probe.verify", probe.verify.span()),
        ("probe.interval", probe.interval.span()),
        ("probe.timeout", probe.timeout.span()),
        ("probe.rise", probe.rise.span()),
        ("probe.fall", probe.fall.span()),
        ("probe.on_down", probe.on_down.span()),
        ("probe.all_down", probe.all_down.span()),
        ("probe.panic", probe.panic.span()),
        ("probe.slow_start", probe.slow_start.span()),
        ("probe.availability", probe.availability.span()),
        ("dns.serve", file.dns.serve.span().filter(|_| file.dns.serve.value() == Some(&true))),
        ("snat.enabled", file.snat.enabled.span().filter(|_| file.snat.enabled.value() == Some(&true))),
    ];
    keys.into_iter().chain(weights).collect()
}

/// What stands for `[balancer]` in mode `none`. A drain has its time there, for an instance that is down.
pub(super) fn no_balancer(file: &File, service: Option<&Service>) -> Option<Balancer> {
    Some(Balancer {
        interfaces: Interfaces::None,
        forwarding: Forwarding::L2,
        address: Vec::new(),
        affinity: Affinity::FiveTuple,
        management_sources: Vec::new(),
        drain: file.balancer.drain.value_or(balancer::DRAIN),
        admin: balancer::ADMIN,
        tokens: None,
        seed: service?.name.clone(),
    })
}
