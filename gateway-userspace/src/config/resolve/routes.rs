//! `[[endpoint]] routes`: paths, and upstreams by location (R71, R72).

use std::{collections::HashMap, time::Duration};

use toml::Spanned;

use super::{given_twice, probe, required, required_list, values};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file,
        read::Key,
    },
    model::{Location, Role, Route, Upstream, UpstreamLimits},
};

/// A path whose routes are being put together.
struct Path<'f> {
    route: Route,
    /// Where it is first written.
    at: Span,
    /// Of each location, whose name and priority tell it from the others.
    places: Vec<Span>,
    upstreams: HashMap<&'f Upstream, Span>,
}

/// Longest path first, and the nearest location first.
pub(super) fn resolve(written: &file::Endpoint, role: Option<Role>, faults: &mut Vec<Fault>) -> Vec<Route> {
    let list = written.routes.value().map_or(&[][..], Vec::as_slice);
    // Without routes, `management` is reported as not supported yet.
    if list.is_empty() && !matches!(written.routes, Key::Refused(_)) && role != Some(Role::Management) {
        let problem = Problem::new(Code::NoRoute, "the endpoint has no route")
            .label("expected at least one route")
            .help("for example `routes = [{ path = \"/\", upstream = [\"http://10.0.1.20:8080\"] }]`");
        faults.push(problem.at(written.routes.span().unwrap_or(written.at.clone())));
    }
    let mut paths: Vec<Path<'_>> = Vec::new();
    for route in list {
        let path = required(&route.path, "endpoint.routes.path", &route.at, faults);
        let upstream = required_list(&route.upstream, "endpoint.routes.upstream", &route.at, faults);
        let (Some(path), Some(at)) = (path, route.path.span()) else { continue };
        let place = if let Some(place) = paths.iter().position(|known| known.route.path == *path) {
            refuse_at_later_route(route, &paths[place], faults);
            place
        } else {
            let balance = route.balance.value().cloned().unwrap_or_default();
            let route = Route { path: path.clone(), balance, locations: Vec::new() };
            paths.push(Path { route, at: at.clone(), places: Vec::new(), upstreams: HashMap::new() });
            paths.len() - 1
        };
        let location = Location {
            priority: route.priority.value_or(1),
            name: route.location.value().cloned(),
            upstream: values(upstream),
            limits: route.limits.as_ref().and_then(|written| limits(written, faults)),
            health: route.health.as_ref().and_then(|written| probe::health(written, faults)),
        };
        // What was refused is not blamed again.
        if !matches!(route.priority, Key::Refused(_)) && !matches!(route.location, Key::Refused(_)) {
            paths[place].add(location, at, upstream, faults);
        }
    }
    let mut routes: Vec<_> = paths.into_iter().map(Path::finish).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    routes
}

impl<'f> Path<'f> {
    fn add(
        &mut self,
        location: Location,
        at: Span,
        upstream: &'f [Spanned<Upstream>],
        faults: &mut Vec<Fault>,
    ) {
        let key = |location: &Location| (location.priority, location.name.clone());
        let same = self.route.locations.iter().position(|known| key(known) == key(&location));
        if let Some(same) = same {
            let path = &self.route.path;
            let problem = Problem::new(Code::GivenTwice, format!("the path `{path}` is given twice"))
                .label("the second time")
                .help("put its upstreams into the list of the first, or give it a `priority` or `location` of its own");
            faults.push(problem.at(at).also(self.places[same].clone(), "the first time"));
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
                        let message = format!("the path `{}` has too many upstreams", self.route.path);
                        let problem = Problem::new(Code::OutOfRange, message)
                            .label(format!("expected at most {}", Route::MOST_UPSTREAMS));
                        faults.push(problem.at(entry.span()));
                    }
                }
            }
        }
        self.route.locations.push(location);
        self.places.push(at);
    }

    fn finish(mut self) -> Route {
        self.route.locations.sort_by_key(|location| location.priority);
        self.route
    }
}

fn limits(written: &file::UpstreamLimits, faults: &mut Vec<Fault>) -> Option<UpstreamLimits> {
    let requests = required(&written.requests, "endpoint.routes.limits.requests", &written.at, faults);
    Some(UpstreamLimits {
        requests: *requests?,
        pending: written.pending.value_or(100),
        wait: written.wait.value_or(Duration::from_secs(1)),
    })
}

/// Keys that hold for the path are written once.
fn refuse_at_later_route(written: &file::Route, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for (key, at) in [("balance", written.balance.span())] {
        if let Some(at) = at {
            let problem = Problem::new(Code::LaterRoute, format!("`{key}` holds for the whole path"))
                .label("at a later route of its path")
                .help("write it at the first one");
            faults.push(problem.at(at).also(path.at.clone(), "the first route of this path"));
        }
    }
}
