//! From the file as written to the [`Model`]: defaults, and all that keys demand of each other. Pure.

mod addresses;
mod admin;
mod balancer;
mod dns;
mod endpoints;
mod forwarding;
mod instances;
mod limits;
mod mode;
mod passthrough;
mod probe;
mod probe_vip;
mod routes;
mod snat;

use std::path::{Path, PathBuf};

use super::{
    code::{Code, Severity},
    fault::{Fault, Problem, Span},
    file::{self, Endpoint, File},
    keys,
    read::Key,
};
use crate::model::{
    AccessLog, AccessLogFormat, CertificateFiles, HostPattern, Mode, Model, Network, NoSni, Places,
    PlainHttp, Proxy, Role, Service, Vips,
};

/// What a file comes to.
#[derive(Debug)]
pub(super) struct Resolved {
    /// None where there is a fault.
    pub model: Option<Model>,
    /// The certificates that could be made out, for those who want to look into their files.
    pub certificates: Vec<CertificateUse>,
    /// The same of TLS to upstreams.
    pub upstream_tls: Vec<UpstreamTlsUse>,
    /// The same of clients' authorities.
    pub authorities: Vec<AuthorityUse>,
}

impl Resolved {
    /// Of a file that could not be understood at all.
    pub(super) fn nothing() -> Self {
        Self { model: None, certificates: Vec::new(), upstream_tls: Vec::new(), authorities: Vec::new() }
    }
}

/// A certificate, the names that it must cover, and where in the file it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateUse {
    /// Whose it is.
    pub role: Role,
    /// What it must cover.
    pub hosts: Vec<HostPattern>,
    /// Where to read it.
    pub files: CertificateFiles,
    /// The place of `chain`.
    pub chain_at: Span,
    /// The place of `key`.
    pub key_at: Span,
}

/// Files of TLS to upstreams, and where in the file they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UpstreamTlsUse {
    /// Who may have issued the upstreams' certificates.
    pub ca: Option<(PathBuf, Span)>,
    /// What upstreams are shown, and the places of `chain` and `key`.
    pub certificate: Option<(CertificateFiles, Span, Span)>,
}

/// A file of authorities, and where in the file it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorityUse {
    /// Where to read it.
    pub path: PathBuf,
    /// The place of `client_ca`.
    pub at: Span,
}

/// Checks how keys go together, and reports whatever does not. Relative paths are taken from `folder`.
pub(super) fn resolve(file: &File, folder: &Path, faults: &mut Vec<Fault>) -> Resolved {
    let service = service(file, faults);
    let mode = file.service.mode.value_or(Mode::Internal);
    mode::check(file, mode, faults);
    let network = match mode {
        Mode::None => Network::default(),
        Mode::Internal | Mode::External => network(file, faults),
    };
    let instances = instances::resolve(file, &network, faults);
    let (vip, balancer) = match mode {
        Mode::None => (Vips::default(), mode::no_balancer(file, service.as_ref())),
        Mode::Internal | Mode::External => (
            addresses::resolve(file, &network, &instances, faults),
            balancer::balancer(file, service.as_ref(), folder, faults),
        ),
    };
    let probe = probe::probe(file, faults);
    if mode != Mode::None {
        forwarding::check(file, &network, &vip, &probe, faults);
    }
    let snat = snat::resolve(file, &vip, &instances, faults);
    let endpoints::Endpoints { endpoints, passthrough, certificates, upstream_tls, authorities } =
        endpoints::resolve(file, service.as_ref(), balancer.as_ref(), folder, faults);
    let proxy = proxy(file, folder, faults);
    let dns = dns::resolve(file, &vip, balancer.as_ref(), faults);
    let probe = probe_vip::complete(probe, file, (&vip, &instances), (&endpoints, &proxy, &dns), faults);
    warn(file, mode, faults);

    let faulty = faults.iter().any(|f| f.code().severity() == Severity::Fault);
    let model = match (service, balancer) {
        (Some(service), Some(balancer)) if !faulty => {
            let instances = instances.into_iter().map(|i| i.instance).collect();
            let places = Places::default();
            Some(Model {
                service,
                network,
                vip,
                balancer,
                instances,
                places,
                probe,
                endpoints,
                passthrough,
                proxy,
                dns,
                snat,
            })
        }
        _ => None,
    };
    Resolved { model, certificates, upstream_tls, authorities }
}

fn service(file: &File, faults: &mut Vec<Fault>) -> Option<Service> {
    let name = required(&file.service.name, "service.name", &file.service.at, faults)?.clone();
    let suffix = file.service.suffix.value_or("azure-api.net".to_owned());
    Some(Service { name, suffix, mode: file.service.mode.value_or(Mode::Internal) })
}

fn network(file: &File, faults: &mut Vec<Fault>) -> Network {
    Network {
        subnet: values(required_list(&file.network.subnet, "network.subnet", &file.network.at, faults)),
        vnet: list(&file.network.vnet),
        peered: list(&file.network.peered),
    }
}

fn proxy(file: &File, folder: &Path, faults: &mut Vec<Fault>) -> Proxy {
    let no_sni = file.proxy.no_sni.value_or(NoSni::Reject);
    let gateway = may_have(file, Role::Gateway, |endpoint| !endpoint.is_passthrough());
    if let (NoSni::DefaultCertificate, false, Some(at)) = (no_sni, gateway, file.proxy.no_sni.span()) {
        let problem = Problem::new(
            Code::DefaultCertificate,
            "there is no `gateway` endpoint whose certificate to show",
        )
        .label("this shows the `gateway` endpoint's certificate")
        .help("add an `[[endpoint]]` with `role = \"gateway\"`, or write `\"reject\"`");
        faults.push(problem.at(at));
    }
    Proxy {
        no_sni,
        http: file.proxy.http.value_or(PlainHttp::Redirect),
        proxy_protocol_from: list(&file.proxy.proxy_protocol_from),
        limits: limits::resolve(&file.proxy.limits, faults),
        resolver: list(&file.proxy.resolver),
        ticket_secret: file.proxy.ticket_secret.value().map(|path| folder.join(path)),
        access_log: file.proxy.access_log.as_ref().and_then(|log| access_log(log, folder, faults)),
        metrics_sources: list(&file.proxy.metrics_sources),
    }
}

fn access_log(log: &file::AccessLog, folder: &Path, faults: &mut Vec<Fault>) -> Option<AccessLog> {
    Some(AccessLog {
        path: folder.join(required(&log.path, "proxy.access_log.path", &log.at, faults)?),
        format: log.format.value_or(AccessLogFormat::Json),
        query: log.query.value_or(false),
    })
}

fn warn(file: &File, mode: Mode, faults: &mut Vec<Fault>) {
    if matches!(&file.endpoints, Key::Absent) || file.endpoints.value().is_some_and(Vec::is_empty) {
        let problem =
            Problem::new(Code::NoEndpoint, "there is no `[[endpoint]]`: the instances answer to no name")
                .label("expected at least one `[[endpoint]]`");
        faults.push(problem.at(file.endpoints.span().unwrap_or(file.end.clone())));
        return;
    }
    let management = may_have(file, Role::Management, |_| true);
    let public = file.vip.public.given().filter(|list| mode == Mode::Internal && !list.get_ref().is_empty());
    if let (false, Some(at)) = (management, public.map(toml::Spanned::span)) {
        let problem = Problem::new(Code::NoManagement, "nothing will be reachable on the public VIP")
            .label("lets in TCP 3443 for the `management` endpoint only, and there is none")
            .help("add an `[[endpoint]]` with `role = \"management\"`, or remove `vip.public`");
        faults.push(problem.at(at));
    }
}

/// Whether an endpoint of that role is written, or something was refused that may have been meant as one.
fn may_have(file: &File, role: Role, is_one: fn(&Endpoint) -> bool) -> bool {
    let meant = |key: &Key<Role>| matches!(key, Key::Refused(_)) || key.value() == Some(&role);
    let endpoints = &file.endpoints;
    matches!(endpoints, Key::Refused(_))
        || endpoints.value().into_iter().flatten().any(|one| meant(&one.role) && is_one(one))
}

/// The value of a key that has to be there.
fn required<'k, T>(key: &'k Key<T>, name: &str, table: &Span, faults: &mut Vec<Fault>) -> Option<&'k T> {
    if matches!(key, Key::Absent) {
        faults.push(missing(name).at(table.clone()));
    }
    key.value()
}

/// The entries of a list that has to be there and must not be empty.
fn required_list<'k, T>(key: &'k Key<Vec<T>>, name: &str, table: &Span, faults: &mut Vec<Fault>) -> &'k [T] {
    let entries = required(key, name, table, faults).map_or(&[][..], Vec::as_slice);
    if let Some(given) = key.given().filter(|list| list.get_ref().is_empty()) {
        let problem =
            Problem::new(Code::MissingKey, format!("`{name}` is empty")).label("expected at least one entry");
        faults.push(problem.at(given.span()));
    }
    entries
}

fn missing(name: &str) -> Problem {
    let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
    let problem =
        Problem::new(Code::MissingKey, format!("`{name}` is missing")).label(format!("expected `{key}`"));
    let Some(known) = keys::table(table) else { return problem };
    match known.key(key).map(|k| k.example) {
        Some("") => match keys::table(key) {
            Some(inner) => problem.help(format!("add `{}`", inner.heading)),
            None => problem,
        },
        Some(example) => problem.help(format!("in `{}`, for example `{key} = {example}`", known.heading)),
        None => problem,
    }
}

fn values<T: Clone>(entries: &[toml::Spanned<T>]) -> Vec<T> {
    entries.iter().map(|entry| entry.get_ref().clone()).collect()
}

fn list<T: Clone>(key: &Key<super::read::List<T>>) -> Vec<T> {
    key.value().map_or_else(Vec::new, |entries| values(entries))
}

/// Reports the second of two equal entries and shows the first.
fn given_twice(what: &str, first: &Span, second: &Span) -> Fault {
    Problem::new(Code::GivenTwice, format!("{what} is given twice"))
        .label("the second time")
        .help("remove one of the two")
        .at(second.clone())
        .also(first.clone(), "the first time")
}
