//! `[balancer]`

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
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
    model::{Affinity, Balancer, Forwarding, Interfaces, Service},
};

/// Where the API listens unless the file says so.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// How long a drained instance may keep its flows unless the file says so.
pub(super) const DRAIN: Duration = Duration::from_secs(3_600);

/// None where the interface is not known or nothing to seed with.
pub(super) fn balancer(
    file: &File,
    service: Option<&Service>,
    folder: &Path,
    faults: &mut Vec<Fault>,
) -> Option<Balancer> {
    let written = &file.balancer;
    warn_of_a_closed_door(written, faults);
    Some(Balancer {
        interfaces: interfaces(written, faults)?,
        forwarding: written.forwarding.value_or(Forwarding::L2),
        address: list(&written.address),
        affinity: written.affinity.value_or(Affinity::FiveTuple),
        management_sources: list(&written.management_sources),
        drain: written.drain.value_or(DRAIN),
        admin: written.admin.value_or(ADMIN),
        tokens: written.tokens.value().map(|path| folder.join(path)),
        seed: written.seed.value_or(service?.name.clone()),
    })
}

/// Beyond loopback the API asks for tokens.
fn warn_of_a_closed_door(written: &file::Balancer, faults: &mut Vec<Fault>) {
    let Some(admin) = written.admin.given() else { return };
    if admin.get_ref().ip().is_loopback() || !matches!(written.tokens, Key::Absent) {
        return;
    }
    let problem = Problem::new(
        Code::AdminWithoutTokens,
        "nobody can use the API there: `balancer.admin` is no loopback address, and there are no tokens",
    )
    .label("answers health checks and nothing else")
    .help("name a file of tokens by `tokens` (`gateway token` makes them)");
    faults.push(problem.at(admin.span()));
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
