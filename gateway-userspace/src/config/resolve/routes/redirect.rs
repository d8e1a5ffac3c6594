//! `redirect = { … }`

use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem},
        file,
        resolve::required,
    },
    model::{Redirect, Rest},
};

/// None where there is a fault in it.
pub(super) fn resolve(
    route: &file::Route,
    written: &file::Redirect,
    faults: &mut Vec<Fault>,
) -> Option<Redirect> {
    refuse_beside(route, faults);
    let to = required(&written.to, "endpoint.routes.redirect.to", &written.at, faults);
    let status = written.status.value_or(307);
    if let (false, Some(at)) = (matches!(status, 301 | 302 | 307 | 308), written.status.span()) {
        let message = format!("`endpoint.routes.redirect.status` cannot be {status}");
        faults.push(Problem::new(Code::OutOfRange, message).label("expected 301, 302, 307 or 308").at(at));
    }
    let rest = if written.append.value_or(false) { Rest::Append } else { Rest::Drop };
    if let (Rest::Append, Some(to)) = (rest, written.to.given().filter(|to| to.get_ref().contains('?'))) {
        let message = format!("`{}` has a query, and `append` is set", to.get_ref());
        let problem = Problem::new(Code::RedirectTarget, message)
            .label("the request's path and query could not follow it")
            .help("leave out `?` and what follows, or `append`");
        faults.push(problem.at(to.span()));
    }
    Some(Redirect { to: to?.clone(), status: http::StatusCode::from_u16(status).ok()?, rest })
}

/// What is said of upstreams means nothing here.
fn refuse_beside(route: &file::Route, faults: &mut Vec<Fault>) {
    let keys = [
        ("upstream", route.upstream.span()),
        ("location", route.location.span()),
        ("priority", route.priority.span()),
        ("health", route.health.as_ref().map(|written| written.at.clone())),
        ("limits", route.limits.as_ref().map(|written| written.at.clone())),
        ("tls", route.tls.as_ref().map(|written| written.at.clone())),
        ("balance", route.balance.span()),
        ("strip_prefix", route.strip_prefix.span()),
        ("max_body", route.max_body.span()),
        ("request_headers", route.request_headers.as_ref().map(|written| written.at.clone())),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            let problem =
                Problem::new(Code::RouteKeys, format!("`{key}` means nothing at a route with `redirect`"))
                    .label("no request goes on to an upstream")
                    .help(format!("remove `{key}`, or `redirect`"));
            faults.push(problem.at(at));
        }
    }
}
