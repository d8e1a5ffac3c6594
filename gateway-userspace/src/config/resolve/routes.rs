//! `[[endpoint]] routes`: paths, and upstreams by location (R71, R72).

mod fields;
mod redirect;
mod tls;

use std::{collections::HashMap, path, time::Duration};

use toml::Spanned;

use super::{UpstreamTlsUse, given_twice, probe, required, required_list, values};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file,
        read::Key,
    },
    model::{
        Action, Backend, FieldChanges, Location, Prefix, Role, Route, Upstream, UpstreamLimits,
        UpstreamScheme,
    },
};

/// A path whose routes are being put together.
struct Path<'f> {
    path: String,
    then: Then,
    response_headers: FieldChanges,
    /// Where it is first written.
    at: Span,
    /// Of each location, whose name and priority tell it from the others.
    places: Vec<Span>,
    upstreams: HashMap<&'f Upstream, Span>,
}

enum Then {
    Forward(Backend),
    /// None: there is a fault in it.
    Redirect(Option<crate::model::Redirect>),
}

/// Longest path first, and the nearest location first. Files that they name are added to `files`.
pub(super) fn resolve(
    written: &file::Endpoint,
    role: Option<Role>,
    folder: &path::Path,
    files: &mut Vec<UpstreamTlsUse>,
    faults: &mut Vec<Fault>,
) -> Vec<Route> {
    let list = written.routes.value().map_or(&[][..], Vec::as_slice);
    // Without routes, `management` leads to the API.
    if list.is_empty() && !matches!(written.routes, Key::Refused(_)) && role != Some(Role::Management) {
        let problem = Problem::new(Code::NoRoute, "the endpoint has no route")
            .label("expected at least one route")
            .help("for example `routes = [{ path = \"/\", upstream = [\"http://10.0.1.20:8080\"] }]`");
        faults.push(problem.at(written.routes.span().unwrap_or(written.at.clone())));
    }
    let mut paths: Vec<Path<'_>> = Vec::new();
    for route in list {
        let path = required(&route.path, "endpoint.routes.path", &route.at, faults);
        let upstream = match &route.redirect {
            Some(_) => &[],
            None => required_list(&route.upstream, "endpoint.routes.upstream", &route.at, faults),
        };
        for entry in upstream.iter().filter(|entry| entry.get_ref().scheme == UpstreamScheme::Tcp) {
            let problem =
                Problem::new(Code::EndpointMode, format!("`{}` is for passthrough", entry.get_ref()))
                    .label("expected `http://HOST:PORT` or `https://HOST:PORT`");
            faults.push(problem.at(entry.span()));
        }
        let (Some(path), Some(at)) = (path, route.path.span()) else { continue };
        let known = paths.iter().position(|known| known.path == *path);
        if let Some(place) = known {
            refuse_at_later_route(route, &paths[place], faults);
        }
        if route.redirect.is_some() || known.is_some_and(|place| paths[place].is_redirect()) {
            match known {
                Some(place) => faults.push(path_twice(path, at, paths[place].at.clone())),
                None => paths.push(Path::new(path, route, at, faults)),
            }
            continue;
        }
        let place = known.unwrap_or_else(|| {
            paths.push(Path::new(path, route, at.clone(), faults));
            paths.len() - 1
        });
        let tls = route.tls.as_ref().and_then(|written| tls::resolve(written, upstream, folder, faults));
        let (tls, used) = tls.unzip();
        files.extend(used);
        let with_tls = |upstream| Upstream { tls: tls.clone(), ..upstream };
        let location = Location {
            priority: route.priority.value_or(1),
            name: route.location.value().cloned(),
            upstream: values(upstream).into_iter().map(with_tls).collect(),
            limits: route.limits.as_ref().and_then(|written| limits(written, upstream, faults)),
            health: route.health.as_ref().and_then(|written| probe::health(written, faults)),
        };
        // What was refused is not blamed again.
        if !matches!(route.priority, Key::Refused(_)) && !matches!(route.location, Key::Refused(_)) {
            paths[place].add(location, at, upstream, faults);
        }
    }
    let mut routes: Vec<_> = paths.into_iter().filter_map(Path::finish).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    routes
}

impl<'f> Path<'f> {
    /// With what its first route says of it, and no location yet.
    fn new(path: &str, first: &file::Route, at: Span, faults: &mut Vec<Fault>) -> Self {
        let then = match &first.redirect {
            Some(written) => Then::Redirect(redirect::resolve(first, written, faults)),
            None => Then::Forward(Backend {
                locations: Vec::new(),
                balance: first.balance.value().cloned().unwrap_or_default(),
                prefix: prefix(path, first, faults),
                request_headers: fields::resolve(first.request_headers.as_ref(), faults),
                max_body: first.max_body.value().copied(),
            }),
        };
        let response_headers = fields::resolve(first.response_headers.as_ref(), faults);
        Self {
            path: path.to_owned(),
            then,
            response_headers,
            at,
            places: Vec::new(),
            upstreams: HashMap::new(),
        }
    }

    fn is_redirect(&self) -> bool {
        matches!(self.then, Then::Redirect(_))
    }

    fn add(
        &mut self,
        location: Location,
        at: Span,
        upstream: &'f [Spanned<Upstream>],
        faults: &mut Vec<Fault>,
    ) {
        let Then::Forward(backend) = &mut self.then else { return };
        let key = |location: &Location| (location.priority, location.name.clone());
        let same = backend.locations.iter().position(|known| key(known) == key(&location));
        if let Some(same) = same {
            faults.push(path_twice(&self.path, at, self.places[same].clone()));
            return;
        }
        for entry in upstream {
            match self.upstreams.get(entry.get_ref()) {
                Some(first) => {
                    faults.push(given_twice(
                        &format!("the upstream `{}`", entry.get_ref()),
                        first,
                        &entry.span(),
                    ));
                }
                None => {
                    self.upstreams.insert(entry.get_ref(), entry.span());
                    if self.upstreams.len() == Route::MOST_UPSTREAMS + 1 {
                        let message = format!("the path `{}` has too many upstreams", self.path);
                        let problem = Problem::new(Code::OutOfRange, message)
                            .label(format!("expected at most {}", Route::MOST_UPSTREAMS));
                        faults.push(problem.at(entry.span()));
                    }
                }
            }
        }
        backend.locations.push(location);
        self.places.push(at);
    }

    fn finish(self) -> Option<Route> {
        let action = match self.then {
            Then::Forward(mut backend) => {
                backend.locations.sort_by_key(|location| location.priority);
                Action::Forward(backend)
            }
            Then::Redirect(redirect) => Action::Redirect(redirect?),
        };
        Some(Route { path: self.path, action, response_headers: self.response_headers })
    }
}

fn path_twice(path: &str, at: Span, first: Span) -> Fault {
    Problem::new(Code::GivenTwice, format!("the path `{path}` is given twice"))
        .label("the second time")
        .help(
            "put its upstreams into the list of the first, or give it a `priority` or `location` of its own; a redirect stands alone",
        )
        .at(at)
        .also(first, "the first time")
}

fn prefix(path: &str, written: &file::Route, faults: &mut Vec<Fault>) -> Prefix {
    match written.strip_prefix.given() {
        Some(strip) if *strip.get_ref() => {
            if path == "/" {
                let problem = Problem::new(Code::RouteKeys, "there is nothing to strip of `/`")
                    .label("of no use at this path")
                    .help("remove it");
                faults.push(problem.at(strip.span()));
            }
            Prefix::Strip
        }
        _ => Prefix::Keep,
    }
}

fn limits(
    written: &file::UpstreamLimits,
    upstream: &[Spanned<Upstream>],
    faults: &mut Vec<Fault>,
) -> Option<UpstreamLimits> {
    let connections = written.connections.value().copied();
    let shared = upstream.iter().find(|one| one.get_ref().scheme.is_http2());
    if let (Some(at), Some(shared)) = (written.connections.span(), shared) {
        let message = format!("`connections` means nothing to `{}`", shared.get_ref());
        let problem = Problem::new(Code::RouteKeys, message)
            .label("requests of HTTP/2 share connections")
            .help("write `requests`");
        faults.push(problem.at(at).also(shared.span(), "HTTP/2"));
    }
    let requests = match (written.requests.value(), connections) {
        (Some(requests), connections) => (*requests).min(connections.unwrap_or(u16::MAX)),
        (None, Some(connections)) => connections,
        (None, None) => *required(&written.requests, "endpoint.routes.limits.requests", &written.at, faults)?,
    };
    Some(UpstreamLimits {
        requests,
        connections,
        pending: written.pending.value_or(100),
        wait: written.wait.value_or(Duration::from_secs(1)),
    })
}

/// Keys that hold for the path are written once.
fn refuse_at_later_route(written: &file::Route, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let keys = [
        ("balance", written.balance.span()),
        ("strip_prefix", written.strip_prefix.span()),
        ("max_body", written.max_body.span()),
        ("request_headers", written.request_headers.as_ref().map(|fields| fields.at.clone())),
        ("response_headers", written.response_headers.as_ref().map(|fields| fields.at.clone())),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            let problem = Problem::new(Code::LaterRoute, format!("`{key}` holds for the whole path"))
                .label("at a later route of its path")
                .help("write it at the first one");
            faults.push(problem.at(at).also(path.at.clone(), "the first route of this path"));
        }
    }
}
