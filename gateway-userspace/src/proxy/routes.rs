//! From the configuration to what is answered to whom: immutable, swapped whole. Pure.

use std::{borrow::Cow, sync::Arc};

use http::{Method, Uri};

use super::{
    names::Names,
    upstream::{Cluster, Upstreams},
};
use crate::model::{Endpoint, Model, Role, Route};

/// Where the gateway, portal and management endpoints say that they are there (R46).
pub const STATUS_PATH: &str = "/status-0123456789abcdef";

/// A kind of listener: what may be asked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Door {
    /// VIP:443, every role.
    Https,
    /// VIP:3443, the management role only (R20).
    Management,
    /// VIP:80, a redirect to https for known names.
    Redirect,
    /// DIP:probe port, the balancer's probes: plain HTTP whatever the Host.
    Probe,
}

/// All names and routes of a configuration.
#[derive(Debug)]
pub struct Routes {
    names: Names<Arc<Site>>,
    probe_path: String,
}

/// A role's routes.
#[derive(Debug)]
pub struct Site {
    /// Whose names these are.
    pub role: Role,
    /// Longest path first.
    rules: Vec<Arc<Rule>>,
}

/// What becomes of requests below a path.
#[derive(Debug)]
pub struct Rule {
    /// Begins with `/`.
    pub path: String,
    /// Where they go.
    pub cluster: Cluster,
}

/// What becomes of a request whose name is known.
#[derive(Debug, Clone)]
pub enum Decision {
    /// 200, empty.
    Status,
    /// 308 to this location.
    Redirect(String),
    /// On to one of the route's upstreams.
    Forward(Arc<Rule>),
    /// 404
    NotFound,
}

impl Routes {
    /// Of a configuration, to these upstreams.
    pub fn new(model: &Model, upstreams: &Upstreams) -> Self {
        let names = model
            .endpoints
            .iter()
            .flat_map(|endpoint| {
                let site = Arc::new(Site::new(endpoint, upstreams));
                endpoint.hosts.iter().map(move |host| (host.clone(), Arc::clone(&site)))
            })
            .collect();
        Self { names, probe_path: model.probe.path.clone() }
    }

    /// The site of a name, lower case, on a door. None: the name is not known there.
    pub fn site(&self, door: Door, name: &str) -> Option<&Arc<Site>> {
        let site = self.names.get(name)?;
        (door != Door::Management || site.role == Role::Management).then_some(site)
    }

    /// Whose name it is, on whatever door.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.names.get(name).map(|site| site.role)
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

impl Site {
    fn new(endpoint: &Endpoint, upstreams: &Upstreams) -> Self {
        let rule = |route: &Route| Arc::new(Rule::new(route, upstreams));
        let mut rules: Vec<_> = endpoint.routes.iter().map(rule).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.path.len()));
        Self { role: endpoint.role, rules }
    }

    /// What becomes of a request for `name`, one of this site's.
    pub fn decide(&self, door: Door, name: &str, method: &Method, uri: &Uri) -> Decision {
        if door == Door::Redirect {
            let path = if uri.path().starts_with('/') { uri.path() } else { "/" };
            let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
            return Decision::Redirect(format!("https://{name}{path}{mark}{query}"));
        }
        let has_status = matches!(self.role, Role::Gateway | Role::Portal | Role::Management);
        if has_status && is_get(method) && uri.path() == STATUS_PATH {
            return Decision::Status;
        }
        let path = plain_path(uri.path());
        let rule = self.rules.iter().find(|rule| is_below(&path, &rule.path));
        rule.map_or(Decision::NotFound, |rule| Decision::Forward(Arc::clone(rule)))
    }
}

impl Rule {
    fn new(route: &Route, upstreams: &Upstreams) -> Self {
        Self { path: route.path.clone(), cluster: Cluster::new(route, upstreams) }
    }
}

fn is_get(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whole segments: `/orders` has `/orders` and `/orders/1` below it, not `/ordersx`. `*` of OPTIONS is below `/` only.
fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix)) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || (path == "*" && prefix == "/"),
        None => false,
    }
}

/// The path as an upstream will understand it: percent-encoded letters decoded, `.` and `..` resolved (RFC 3986, section 6.2.2). It
/// only chooses the route, so that `/orders/../admin` goes where `/admin` goes; the upstream gets what the client sent.
fn plain_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = decoded.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        let last = parts.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => {
                segments.push(other);
                continue;
            }
        }
        if last {
            segments.push("");
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        decoded.push_str(plain);
        let byte = encoded.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        match byte.filter(|c| c.is_ascii_alphanumeric() || "-._~".contains(*c)) {
            Some(character) => {
                decoded.push(character);
                rest = &encoded[2..];
            }
            None => {
                decoded.push('%');
                rest = encoded;
            }
        }
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Balance, proxy::limits::Limits};

    fn site(role: Role, paths: &[&str]) -> Site {
        let upstreams = Upstreams::new(1, &Limits::default());
        let rule = |path: &&str| {
            let route = Route { path: (*path).to_owned(), balance: Balance::default(), locations: vec![] };
            Arc::new(Rule::new(&route, &upstreams))
        };
        Site { role, rules: paths.iter().map(rule).collect() }
    }

    fn decide(site: &Site, door: Door, method: &Method, target: &str) -> String {
        let uri = target.parse().unwrap();
        match site.decide(door, "api.contoso.com", method, &uri) {
            Decision::Forward(rule) => rule.path.clone(),
            Decision::Redirect(location) => location,
            other => format!("{other:?}"),
        }
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
