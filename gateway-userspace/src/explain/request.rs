//! The request in the packet: door, name, route and upstream, by the proxy's own rules.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use gateway_ebpf::headers::TCP_SYN;
use http::{Method, Uri};

use super::{Explanation, Protocol, Question, document::Request};
use crate::{
    model::{Action, HostPattern, MANAGEMENT_PORT, Model, Passthrough, Role, Upstream, authority},
    proxy::{
        bind,
        decide::{Asking, Goes, Rules},
        guard::Guard,
        host::{self, Asked},
        limits::Limits,
        observe::Traffic,
        routes::{Decision, Door, Routes},
        tls::{Certificates, Served, Tickets},
        upstream::Upstreams,
    },
    shell::quoted,
};

/// What the proxy would do, and the same by curl.
pub(super) fn follow(question: &Question, model: &Model, into: &mut Explanation) {
    let Some(door) = door(question, model) else { return };
    if question.protocol == Protocol::Tcp && question.flags.0 & TCP_SYN != 0 {
        into.curl = curl(question, model, door);
    }
    let Some(host) = &question.host else { return };
    if matches!(door, Door::Dns | Door::Probe) {
        into.say("route", "no HTTP is spoken here");
        into.request = Some(Request::of("no-http"));
        return;
    }
    let routes = Routes::new(model, &Upstreams::new(1, &Limits::default()), &Traffic::new(1));
    let (certificates, unread) = certificates(model);
    let guard = Guard::new(model);
    let rules =
        Rules { routes: &routes, certificates: &certificates, no_sni: model.proxy.no_sni, guard: &guard };
    let mut proxy = Proxy { question, model, rules, unread, door, into };
    let request = proxy.request(host);
    into.request = Some(request);
}

/// What is listened for at the destination.
fn door(question: &Question, model: &Model) -> Option<Door> {
    let at = SocketAddr::new(question.to.ip, question.to.port?);
    let addresses = model.instances.iter().flat_map(|instance| bind::addresses(model, instance));
    let is_tcp = |door| (door == Door::Dns) == (question.protocol == Protocol::Udp);
    addresses.into_iter().find(|address| address.socket == at && is_tcp(address.door)).map(|one| one.door)
}

/// Those that clients are shown; where they cannot be read here, why.
fn certificates(model: &Model) -> (Certificates, Option<String>) {
    let Ok(tickets) = Tickets::new() else { return (Certificates::new(), Some("no random bytes".into())) };
    match Served::load(model, &Arc::new(tickets)) {
        Ok(certificates) => (certificates, None),
        Err(error) => (Certificates::new(), Some(format!("{:#}", anyhow::Error::from(error)))),
    }
}

struct Proxy<'p> {
    question: &'p Question,
    model: &'p Model,
    rules: Rules<'p>,
    /// Why certificates could not be read.
    unread: Option<String>,
    door: Door,
    into: &'p mut Explanation,
}

impl Proxy<'_> {
    fn request(&mut self, host: &str) -> Request {
        let Question { from, to, .. } = self.question;
        let is_tls = matches!(self.door, Door::Https | Door::Management);
        let sni = self.question.sni.as_deref().unwrap_or(host);
        let sni = is_tls.then(|| without_port(sni));
        let mut shown = None;
        if let Some(hello) = &sni {
            let roles = self.rules.guard.roles(self.door, to.ip, from.ip);
            match self.rules.hello(self.door, roles, hello) {
                None => return self.name_refused(hello),
                Some(Goes::Elsewhere(through)) => return self.passed_through(&through.name),
                Some(Goes::Here(role)) => {
                    self.into.say("tls", format!("the certificate of the {role} endpoint is shown"));
                    shown = self.rules.certificates.get(&role);
                    if let Some(why) = &self.unread {
                        let text =
                            format!("whether the request may ask for its name there is not known: {why}");
                        self.into.say("tls", text);
                    }
                }
                Some(Goes::Anyhow) => {}
            }
        }
        let name = match host::parse(host.as_bytes()) {
            Err(host::Malformed) => {
                self.into.say("name", format!("{host:?} is no host: 400"));
                return Request::of("bad-request");
            }
            Ok(Asked::Name(name)) => name.into_owned(),
            Ok(Asked::Address | Asked::Nothing) => return self.misdirected("no name is asked for"),
        };
        let sni = match &sni {
            Some(Asked::Name(name)) => Some(&**name),
            _ => None,
        };
        let shown = shown.map(|served| (&**served, sni));
        let asking = Asking { door: self.door, at: to.ip, peer: from.ip, shown };
        match self.rules.site(&asking, &name) {
            None => self.misdirected(&format!("{name} is not served here{}", self.nearest(&name))),
            Some((site, door)) => {
                let role = site.role;
                self.into.say("name", format!("{name} is a name of the {role} endpoint"));
                let Ok(uri) = self.question.path.parse::<Uri>() else {
                    self.into.say("route", format!("{:?} is no path: 400", self.question.path));
                    return Request { role: Some(role.to_string()), ..Request::of("bad-request") };
                };
                let decision = site.decide(door, &name, &Method::GET, &uri);
                Request { role: Some(role.to_string()), ..self.decided(role, decision) }
            }
        }
    }

    fn decided(&mut self, role: Role, decision: Decision) -> Request {
        let path = &self.question.path;
        match decision {
            Decision::Status => {
                self.into.say("route", "the status path, answered by the proxy: 200");
                Request::of("status")
            }
            Decision::Redirect(location) => {
                self.into.say("route", format!("to {location}: 308"));
                Request { location: Some(location), ..Request::of("redirect") }
            }
            Decision::Move(moved, rest) => {
                let answer = moved.answer(&rest);
                let location = answer.head.headers.get(http::header::LOCATION);
                let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                let status = answer.head.status.as_u16();
                self.into.say("route", format!("to {}: {status}", location.as_deref().unwrap_or_default()));
                Request { location, ..Request::of("redirect") }
            }
            Decision::Ambiguous => {
                self.into.say("route", format!("{path} is read in two ways below its route: 400"));
                Request::of("bad-request")
            }
            Decision::NotFound => {
                self.into.say("route", format!("no route of the {role} endpoint has {path} below it: 404"));
                Request::of("not-found")
            }
            Decision::Forward(rule, seen) => {
                let seen = seen.map_or_else(String::new, |seen| format!(", and the upstream sees {seen}"));
                self.into
                    .say("route", format!("{} is the longest that has {path} below it{seen}", rule.path));
                let endpoints = self.model.endpoints.iter().filter(|endpoint| endpoint.role == role);
                let route = endpoints.flat_map(|one| &one.routes).find(|route| route.path == rule.path);
                let upstreams = route.map_or_else(Vec::new, |route| texts(route.upstreams()));
                if let Some(Action::Forward(backend)) = route.map(|route| &route.action) {
                    self.into.say("upstream", backend.to_string());
                }
                Request { route: Some(rule.path.clone()), upstreams, ..Request::of("forward") }
            }
        }
    }

    fn passed_through(&mut self, name: &str) -> Request {
        let through = self.model.passthrough.iter().find(|endpoint| has(endpoint, name));
        let upstreams = through.map_or_else(Vec::new, |one| texts(one.upstream.iter().chain(&one.backup)));
        self.into.say("tls", format!("{name} is passed through: TLS ends at {}", upstreams.join(" or ")));
        let role = through.map(|endpoint| endpoint.role.to_string());
        Request { role, upstreams, ..Request::of("passthrough") }
    }

    fn name_refused(&mut self, hello: &Asked<'_>) -> Request {
        let text = match hello {
            Asked::Name(name) => format!("{name} is not served here{}", self.nearest(name)),
            Asked::Address => "an IP address is no name".to_owned(),
            Asked::Nothing => "no name is asked for".to_owned(),
        };
        self.into.say("tls", format!("{text}: the alert unrecognized_name"));
        Request::of("name-refused")
    }

    fn misdirected(&mut self, why: &str) -> Request {
        self.into.say("name", format!("{why}: 421"));
        Request::of("misdirected")
    }

    fn nearest(&self, name: &str) -> String {
        match (self.rules.routes.role(name), self.rules.routes.nearest(name)) {
            (Some(role), _) => format!(", though it is a name of the {role} endpoint"),
            (None, Some(nearest)) => format!(" (the nearest name is {nearest})"),
            (None, None) => String::new(),
        }
    }
}

impl Request {
    fn of(outcome: &str) -> Self {
        Self { outcome: outcome.to_owned(), role: None, route: None, upstreams: Vec::new(), location: None }
    }
}

fn without_port(name: &str) -> Asked<'_> {
    host::parse(name.as_bytes()).unwrap_or_else(|host::Malformed| host::normalise(name))
}

fn has(endpoint: &Passthrough, name: &str) -> bool {
    endpoint.hosts.iter().any(|host| match host {
        HostPattern::Exact(own) => own == name,
        HostPattern::Wildcard(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
    })
}

fn texts<'u>(upstreams: impl Iterator<Item = &'u Upstream>) -> Vec<String> {
    upstreams.map(ToString::to_string).collect()
}

/// A command that makes this request, with the same source port where one was named: it is the same flow then.
fn curl(question: &Question, model: &Model, door: Door) -> Option<String> {
    let scheme = match door {
        Door::Https | Door::Management => "https",
        Door::Http | Door::Redirect => "http",
        Door::Dns | Door::Probe => return None,
    };
    let port = question.to.port?;
    let host = match &question.host {
        Some(host) => host.split(':').next().unwrap_or(host).to_owned(),
        None => default_host(model, port)?,
    };
    let address = match question.to.ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let local = question.from.port.map_or_else(String::new, |port| format!(" --local-port {port}"));
    let url = quoted(&format!("{scheme}://{}{}", authority(&host, port), question.path));
    Some(format!("curl --resolve {host}:{port}:{address}{local} {url}"))
}

/// The first name that is served there.
fn default_host(model: &Model, port: u16) -> Option<String> {
    model.hosts().find_map(|(host, role)| match host {
        HostPattern::Exact(name) if port != MANAGEMENT_PORT || role == Role::Management => Some(name.clone()),
        _ => None,
    })
}
