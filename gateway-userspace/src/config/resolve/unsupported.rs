//! Features of the file that this version does not have: in use, they are refused, never ignored.

use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Mode, Role},
};

/// Reports each use of a feature that is still to come.
pub(super) fn refuse(file: &File, faults: &mut Vec<Fault>) {
    if let Some(mode) = file.service.mode.given().filter(|mode| *mode.get_ref() != Mode::Internal) {
        faults.push(not_yet("this mode").help("use `\"internal\"`").at(mode.span()));
    }
    if file.snat.enabled.value() == Some(&true) {
        refuse_at(file.snat.enabled.span(), &not_yet("SNAT").help("write `false`"), faults);
    }
    if file.dns.serve.value() == Some(&true) {
        refuse_at(file.dns.serve.span(), &not_yet("answering DNS").help("write `false`"), faults);
    }
    if file.dns.forward.value().is_some_and(|list| !list.is_empty()) {
        refuse_at(file.dns.forward.span(), &not_yet("forwarding DNS").help("remove it"), faults);
    }
    let endpoints = file.endpoints.value().into_iter().flatten();
    for endpoint in endpoints.filter(|endpoint| !endpoint.is_passthrough()) {
        let no_routes =
            matches!(&endpoint.routes, Key::Absent) || endpoint.routes.value().is_some_and(Vec::is_empty);
        if endpoint.role.value() == Some(&Role::Management) && no_routes {
            let problem =
                not_yet("a `management` endpoint without routes, which would lead to `balancer.admin`,")
                    .help("give it `routes` to an upstream of your own");
            faults.push(problem.at(endpoint.routes.span().unwrap_or(endpoint.at.clone())));
        }
    }
}

fn refuse_at(at: Option<Span>, problem: &Problem, faults: &mut Vec<Fault>) {
    faults.extend(at.map(|at| problem.clone().at(at)));
}

fn not_yet(what: &str) -> Problem {
    Problem::new(Code::NotSupported, format!("{what} is not supported yet")).label("not supported yet")
}
