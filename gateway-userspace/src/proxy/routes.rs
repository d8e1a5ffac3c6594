//! From the configuration to what is answered to whom: immutable, swapped whole. Pure.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Uri, uri::PathAndQuery};

use super::{
    guard::Roles,
    moved::Moved,
    names::Names,
    observe::{HostTraffic, Traffic},
    passthrough::Through,
    path,
    upstream::{Cluster, Upstreams},
};
use crate::model::{Action, Backend, Endpoint, FieldChanges, HostPattern, Model, Prefix, Role, Route};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Where the gateway, portal and management endpoints say that they are there (R46).
pub const STATUS_PATH: &str = "/status-0123456789abcdef";

/// A kind of listener: what may be asked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Door {
    /// VIP:443, every role; which ones a client gets, see [`Roles`].
    Https,
    /// VIP:3443, the management role only (R20).
    Management,
    /// VIP:80, a redirect to https for known names.
    Redirect,
    /// VIP:80, every role in plain text.
    Http,
    /// VIP:53, questions of the DNS.
    Dns,
    /// DIP:probe port, the balancer's probes: plain HTTP whatever the Host.
    Probe,
}

/// All names and routes of a configuration.
#[derive(Debug)]
pub struct Routes {
    names: Names<Name>,
    probe_path: String,
}

/// What is behind a name.
#[derive(Debug, Clone)]
struct Name {
    site: Arc<Site>,
    /// If TLS for it ends elsewhere; its site has no routes then.
    through: Option<Arc<Through>>,
}

/// Paths and what becomes of requests below them, the longest first.
type Rules = Arc<[(String, Then)]>;

/// A name of a role, and the role's routes.
#[derive(Debug)]
pub struct Site {
    /// Whose names these are.
    pub role: Role,
    /// What is asked of the name.
    pub traffic: Arc<HostTraffic>,
    rules: Rules,
}

/// What becomes of requests below a path.
#[derive(Debug)]
enum Then {
    Forward(Arc<Rule>),
    Move(Arc<Moved>),
}

/// Where requests below a path go.
#[derive(Debug)]
pub struct Rule {
    /// Begins with `/`.
    pub path: String,
    /// Where they go.
    pub cluster: Cluster,
    prefix: Prefix,
    /// The most bytes of a request's body, if they are bounded.
    pub max_body: Option<u64>,
    /// What is changed of requests, once they are as the upstream gets them.
    pub request_fields: FieldChanges,
    /// What is changed of answers, once they are as the client gets them.
    pub response_fields: FieldChanges,
}

/// What becomes of a request whose name is known.
#[derive(Debug, Clone)]
pub enum Decision {
    /// 200, empty.
    Status,
    /// 308 to this location.
    Redirect(String),
    /// To another place, with what is below the route's path.
    Move(Arc<Moved>, String),
    /// On to one of the route's upstreams, which sees this path in place of the request's.
    Forward(Arc<Rule>, Option<PathAndQuery>),
    /// 400: below the route's path there is something else for each who reads it.
    Ambiguous,
    /// 404
    NotFound,
}

impl Routes {
    /// Of a configuration, to these upstreams.
    pub fn new(model: &Model, upstreams: &Upstreams, traffic: &Traffic) -> Self {
        let mut names = Vec::new();
        let mut add = |role, host: &HostPattern, rules: &Rules, through: Option<&Arc<Through>>| {
            let site = Site { role, traffic: traffic.host(role, host), rules: Arc::clone(rules) };
            names.push((host.clone(), Name { site: Arc::new(site), through: through.cloned() }));
        };
        for endpoint in &model.endpoints {
            let rules = rules(endpoint, upstreams);
            endpoint.hosts.iter().for_each(|host| add(endpoint.role, host, &rules, None));
        }
        for endpoint in &model.passthrough {
            let (none, through) = (Rules::default(), Arc::new(Through::new(endpoint, upstreams)));
            endpoint.hosts.iter().for_each(|host| add(endpoint.role, host, &none, Some(&through)));
        }
        let names = names.into_iter().collect();
        Self { names, probe_path: model.probe.path.clone() }
    }

    /// The site of a name, lower case, on a door, for who is served these roles. None: the name is not known there, or not where TLS
    /// ends.
    pub fn site(&self, door: Door, roles: Roles, name: &str) -> Option<&Arc<Site>> {
        let name = self.of(roles, name)?;
        (name.through.is_none() || matches!(door, Door::Redirect | Door::Http)).then_some(&name.site)
    }

    /// Where connections for a name, lower case, are passed through to, if they are, and where they are counted.
    pub fn through(&self, roles: Roles, name: &str) -> Option<(&Arc<Through>, &Arc<HostTraffic>)> {
        let name = self.of(roles, name)?;
        Some((name.through.as_ref()?, &name.site.traffic))
    }

    fn of(&self, roles: Roles, name: &str) -> Option<&Name> {
        self.names.get(name).filter(|name| roles.have(name.site.role))
    }

    /// Whose name it is, on whatever door.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.names.get(name).map(|name| name.site.role)
    }

    /// The configured name most like `name`.
    pub fn nearest(&self, name: &str) -> Option<String> {
        self.names.nearest(name)
    }

    /// Whether a probe asks for what this instance answers.
    pub fn probed(&self, method: &Method, uri: &Uri) -> bool {
        is_get(method) && (uri.path() == self.probe_path || uri.path() == STATUS_PATH)
    }
}

fn rules(endpoint: &Endpoint, upstreams: &Upstreams) -> Rules {
    let then = |route: &Route| match &route.action {
        Action::Forward(backend) => Then::Forward(Arc::new(Rule::new(route, backend, upstreams))),
        Action::Redirect(redirect) => Then::Move(Arc::new(Moved::new(redirect, &route.response_headers))),
    };
    let mut rules: Vec<_> = endpoint.routes.iter().map(|route| (route.path.clone(), then(route))).collect();
    rules.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    rules.into()
}

impl Site {
    /// What becomes of a request for `name`, one of this site's.
    pub fn decide(&self, door: Door, name: &str, method: &Method, uri: &Uri) -> Decision {
        // What is passed through has no routes here, but a name over HTTPS.
        if door == Door::Redirect || (door == Door::Http && self.rules.is_empty()) {
            let path = if uri.path().starts_with('/') { uri.path() } else { "/" };
            let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
            return Decision::Redirect(format!("https://{name}{path}{mark}{query}"));
        }
        let has_status = matches!(self.role, Role::Gateway | Role::Portal | Role::Management);
        if has_status && is_get(method) && uri.path() == STATUS_PATH {
            return Decision::Status;
        }
        // What it comes to only chooses the route, so that `/orders/../admin` goes where `/admin` goes; but for a route that strips,
        // the upstream gets what the client sent.
        let plain = path::plain(uri.path());
        let found = self.rules.iter().find_map(|(path, then)| Some((then, path::below(&plain, path)?)));
        match found {
            None => Decision::NotFound,
            Some((Then::Forward(rule), _)) if rule.prefix == Prefix::Keep => {
                Decision::Forward(Arc::clone(rule), None)
            }
            Some((Then::Forward(rule), rest)) => match rooted(rest, uri).and_then(|path| path.parse().ok()) {
                Some(path) => Decision::Forward(Arc::clone(rule), Some(path)),
                None => Decision::Ambiguous,
            },
            Some((Then::Move(moved), rest)) => match rooted(rest, uri) {
                Some(rest) => Decision::Move(Arc::clone(moved), rest),
                None => Decision::Ambiguous,
            },
        }
    }
}

/// What is below a route's path, and the query.
fn rooted(rest: &str, uri: &Uri) -> Option<String> {
    let path = path::rooted(rest)?;
    Some(match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

impl Rule {
    fn new(route: &Route, backend: &Backend, upstreams: &Upstreams) -> Self {
        let mut request_fields = backend.request_headers.clone();
        if backend.prefix == Prefix::Strip
            && !request_fields.names(&X_FORWARDED_PREFIX)
            && let Ok(path) = HeaderValue::from_str(&route.path)
        {
            request_fields.set.push((X_FORWARDED_PREFIX, path));
        }
        Self {
            path: route.path.clone(),
            cluster: Cluster::new(backend, upstreams),
            prefix: backend.prefix,
            max_body: backend.max_body,
            request_fields,
            response_fields: route.response_headers.clone(),
        }
    }
}

fn is_get(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::{
        model::{HostPattern, Redirect, Rest},
        proxy::limits::Limits,
    };

    fn site_of(role: Role, routes: Vec<Route>) -> Site {
        let endpoint = Endpoint { role, hosts: vec![], certificates: vec![], clients: None, routes };
        let traffic = Traffic::new(1).host(role, &HostPattern::Exact("api.contoso.com".into()));
        Site { role, traffic, rules: rules(&endpoint, &Upstreams::new(1, &Limits::default())) }
    }

    fn route(path: &str, action: Action) -> Route {
        Route { path: path.to_owned(), action, response_headers: FieldChanges::default() }
    }

    fn site(role: Role, paths: &[&str]) -> Site {
        let forward = |path: &&str| route(path, Action::Forward(Backend::default()));
        site_of(role, paths.iter().map(forward).collect())
    }

    fn decide(site: &Site, door: Door, method: &Method, target: &str) -> String {
        let uri = target.parse().unwrap();
        match site.decide(door, "api.contoso.com", method, &uri) {
            Decision::Forward(rule, None) => rule.path.clone(),
            Decision::Forward(rule, Some(path)) => format!("{} sees {path}", rule.path),
            Decision::Redirect(location) => location,
            Decision::Move(_, rest) => format!("elsewhere: {rest}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_route_that_strips_has_its_upstream_see_what_is_below_it() {
        let strips = Backend { prefix: Prefix::Strip, ..Backend::default() };
        let elsewhere = Redirect {
            to: "https://new.contoso.com".into(),
            status: StatusCode::PERMANENT_REDIRECT,
            rest: Rest::Append,
        };
        let site = site_of(
            Role::Gateway,
            vec![
                route("/", Action::Forward(Backend::default())),
                route("/orders", Action::Forward(strips)),
                route("/old", Action::Redirect(elsewhere)),
            ],
        );
        for (target, expected) in [
            ("/orders/1?x=/../y", "/orders sees /1?x=/../y"),
            ("/orders", "/orders sees /"),
            ("/orders?x", "/orders sees /?x"),
            ("http://api.contoso.com/orders/1", "/orders sees /1"),
            ("/orders//x", "/orders sees /x"),
            ("/orders/..%2fx", "Ambiguous"),
            ("/orders/../x", "/"),
            ("/old/a?b", "elsewhere: /a?b"),
            ("/old", "elsewhere: /"),
            ("/old/..%2fx", "Ambiguous"),
            ("/..%2fx", "/"),
        ] {
            assert_eq!(decide(&site, Door::Https, &Method::GET, target), expected, "{target}");
        }
        let Then::Forward(orders) = &site.rules[0].1 else { panic!("{site:?}") };
        assert_eq!(orders.request_fields.to_string(), "+x-forwarded-prefix");
    }

    #[test]
    fn a_route_that_says_something_of_the_prefix_field_has_its_way() {
        let changes = FieldChanges { remove: vec![X_FORWARDED_PREFIX], ..FieldChanges::default() };
        let backend = Backend { prefix: Prefix::Strip, request_headers: changes, ..Backend::default() };
        let rule = Rule::new(
            &route("/orders", Action::Forward(backend.clone())),
            &backend,
            &Upstreams::new(1, &Limits::default()),
        );
        assert_eq!(rule.request_fields.to_string(), "-x-forwarded-prefix");
    }

    #[test]
    fn the_longest_path_wins_by_whole_segments() {
        let site = site(Role::Gateway, &["/orders/old", "/orders", "/"]);
        for (target, route) in [
            ("/", "/"),
            ("/orders", "/orders"),
            ("/orders?x=/orders/old", "/orders"),
            ("/orders/", "/orders"),
            ("/orders/1", "/orders"),
            ("/ordersx", "/"),
            ("/orders/old/1", "/orders/old"),
            ("/orders/../x", "/"),
            ("/x/../orders/1", "/orders"),
            ("/x/%2e%2E/orders", "/orders"),
            ("/%6frders", "/orders"),
            ("/orders%2Fold", "/"),
            ("/orders/.", "/orders"),
            ("/../../orders", "/orders"),
            ("/%zz%", "/"),
            ("*", "/"),
        ] {
            assert_eq!(decide(&site, Door::Https, &Method::GET, target), route, "{target}");
        }
        assert_eq!(
            decide(&self::site(Role::Gateway, &["/orders"]), Door::Https, &Method::GET, "/"),
            "NotFound"
        );
    }

    #[test]
    fn r46_status_of_gateway_portal_and_management() {
        for (role, expected) in [
            (Role::Gateway, "Status"),
            (Role::Portal, "Status"),
            (Role::Management, "Status"),
            (Role::Developer, "/"),
            (Role::Scm, "/"),
        ] {
            assert_eq!(
                decide(&site(role, &["/"]), Door::Https, &Method::GET, STATUS_PATH),
                expected,
                "{role}"
            );
        }
        assert_eq!(decide(&site(Role::Gateway, &["/"]), Door::Https, &Method::POST, STATUS_PATH), "/");
    }

    #[test]
    fn port_80_redirects_with_path_and_query() {
        let site = site(Role::Gateway, &["/"]);
        for (target, location) in [
            ("/a?b=c", "https://api.contoso.com/a?b=c"),
            ("http://other/x", "https://api.contoso.com/x"),
            ("http://other?x", "https://api.contoso.com/?x"),
            ("*", "https://api.contoso.com/"),
        ] {
            assert_eq!(decide(&site, Door::Redirect, &Method::GET, target), location);
        }
    }
}
