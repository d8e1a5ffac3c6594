//! A `management` endpoint without routes, which leads to `balancer.admin`.

use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Balancer, Interfaces, Route},
};

/// Its route, if all instances reach the API, and somebody can use it there.
pub(super) fn route(file: &File, balancer: &Balancer, at: &Span, faults: &mut Vec<Fault>) -> Vec<Route> {
    if balancer.interfaces == Interfaces::None {
        let problem = Problem::new(Code::NoRoute, "the `management` endpoint has no routes")
            .label("with `mode = \"none\"` there is no balancer whose API it could lead to")
            .help("give it `routes`");
        faults.push(problem.at(at.clone()));
        return Vec::new();
    }
    let written = &file.balancer;
    let admin_at = written.admin.span();
    let instances = file.instances.value().map_or(0, Vec::len);
    let loopback = balancer.api_addresses().into_iter().find(|address| address.ip().is_loopback());
    if let (Some(address), 2..) = (loopback, instances) {
        let message = format!(
            "the `management` endpoint has no routes and leads to `balancer.admin`, {address}, which other hosts do not reach"
        );
        let problem = Problem::new(Code::AdminUnreachable, message)
            .label(format!("of {instances} instances one at most is on the balancer's host"))
            .help(
                "write an address of the balancer's own into `balancer.admin`, and `balancer.tokens`; or give the endpoint `routes`",
            );
        let fault = problem.at(at.clone());
        faults.push(match admin_at {
            Some(admin) => {
                fault.also(admin, "a loopback address, or every address without `balancer.address`")
            }
            None => fault,
        });
        return Vec::new();
    }
    if loopback.is_some() && matches!(written.tokens, Key::Absent) {
        let problem = Problem::new(
            Code::AdminWithoutTokens,
            "nobody can use the API through the `management` endpoint: there are no tokens",
        )
        .label("without `routes` it leads to `balancer.admin`")
        .help("name a file of tokens by `balancer.tokens` (`gateway token` makes them)");
        faults.push(problem.at(at.clone()));
    }
    vec![balancer.api_route()]
}
