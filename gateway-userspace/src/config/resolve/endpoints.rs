//! `[[endpoint]]`: roles, names and certificates (R42 to R45).

use std::{collections::HashMap, path::Path};

use toml::Spanned;

use super::{
    AuthorityUse, CertificateUse, UpstreamTlsUse, admin, given_twice, missing, passthrough, required, routes,
};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::{self, File},
        read::Key,
        value,
    },
    model::{
        Balancer, CertificateFiles, ClientCertificates, Demand, Endpoint, HostPattern, Passthrough, Role,
        Service,
    },
};

/// What the file has of them, in its order.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// Where TLS ends here.
    pub(super) endpoints: Vec<Endpoint>,
    /// Where it does not.
    pub(super) passthrough: Vec<Passthrough>,
    /// The certificates that they name.
    pub(super) certificates: Vec<CertificateUse>,
    /// The files of TLS to their upstreams.
    pub(super) upstream_tls: Vec<UpstreamTlsUse>,
    /// The authorities of clients' certificates.
    pub(super) authorities: Vec<AuthorityUse>,
}

/// Who has a name, and where that is written.
pub(super) type Owners = HashMap<HostPattern, (Role, Span)>;

/// Endpoints in the order of the file, and the files they name.
pub(super) fn resolve(
    file: &File,
    service: Option<&Service>,
    balancer: Option<&Balancer>,
    folder: &Path,
    faults: &mut Vec<Fault>,
) -> Endpoints {
    let mut roles: HashMap<Role, Span> = HashMap::new();
    let mut owners = Owners::new();
    let mut all = Endpoints::default();
    for written in file.endpoints.value().into_iter().flatten() {
        let role = required(&written.role, "endpoint.role", &written.at, faults).copied();
        if written.is_passthrough() {
            all.passthrough.extend(passthrough::resolve(written, role, service, &mut owners, faults));
            continue;
        }
        passthrough::refuse_keys(written, faults);
        let certificates = certificates(written, folder, faults);
        let clients = clients(written, folder, faults);
        let mut routes = routes::resolve(written, role, folder, &mut all.upstream_tls, faults);
        let Some(role) = role else { continue };
        let at = written.role.span().unwrap_or(written.at.clone());
        if let Some(first) = roles.get(&role) {
            let fault = given_twice(&format!("the role `{role}`"), first, &at);
            faults.push(fault);
            continue;
        }
        roles.insert(role, at.clone());
        if let (Role::Management, true, Some(balancer)) = (role, has_no_routes(written), balancer) {
            routes = admin::route(file, balancer, &at, faults);
        }
        let hosts = hosts(written, role, service, &at, &mut owners, faults);
        all.authorities.extend(
            clients
                .clone()
                .zip(written.client_ca.span())
                .map(|(clients, at)| AuthorityUse { path: clients.authorities, at }),
        );
        let mut files = Vec::new();
        for (one, chain_at, key_at) in certificates {
            files.push(one.clone());
            all.certificates.push(CertificateUse {
                role,
                hosts: hosts.clone(),
                files: one,
                chain_at,
                key_at,
            });
        }
        if !files.is_empty() {
            all.endpoints.push(Endpoint { role, hosts, certificates: files, clients, routes });
        }
    }
    all
}

fn has_no_routes(written: &file::Endpoint) -> bool {
    matches!(written.routes, Key::Absent) || written.routes.value().is_some_and(Vec::is_empty)
}

/// The files of each certificate, and where they are named.
fn certificates(
    written: &file::Endpoint,
    folder: &Path,
    faults: &mut Vec<Fault>,
) -> Vec<(CertificateFiles, Span, Span)> {
    if matches!(written.certificate, Key::Absent) {
        faults.push(missing("endpoint.certificate").at(written.at.clone()));
    }
    if let Some(list) = written.certificate.given().filter(|list| list.get_ref().is_empty()) {
        let problem = Problem::new(Code::MissingKey, "`endpoint.certificate` is empty")
            .label("expected at least one entry");
        faults.push(problem.at(list.span()));
    }
    let list = written.certificate.value().into_iter().flatten();
    list.filter_map(|one| certificate(one, folder, faults)).collect()
}

fn certificate(
    written: &file::Certificate,
    folder: &Path,
    faults: &mut Vec<Fault>,
) -> Option<(CertificateFiles, Span, Span)> {
    let chain = required(&written.chain, "endpoint.certificate.chain", &written.at, faults);
    let key = required(&written.key, "endpoint.certificate.key", &written.at, faults);
    let files = CertificateFiles { chain: folder.join(chain?), key: folder.join(key?) };
    Some((files, written.chain.span()?, written.key.span()?))
}

fn clients(written: &file::Endpoint, folder: &Path, faults: &mut Vec<Fault>) -> Option<ClientCertificates> {
    if let (Key::Absent, Some(at)) = (&written.client_ca, written.client_certificate.span()) {
        let problem =
            Problem::new(Code::ClientCertificate, "nobody is named who issues clients' certificates")
                .label("of which authorities?")
                .help("add `client_ca = \"tls/clients.pem\"`");
        faults.push(problem.at(at));
    }
    let authorities = folder.join(written.client_ca.value()?);
    Some(ClientCertificates { authorities, demand: written.client_certificate.value_or(Demand::Required) })
}

/// The default name first, then the custom ones; a name that leads elsewhere already is reported.
pub(super) fn hosts(
    written: &file::Endpoint,
    role: Role,
    service: Option<&Service>,
    at: &Span,
    owners: &mut Owners,
    faults: &mut Vec<Fault>,
) -> Vec<HostPattern> {
    let custom = written.hosts.value().map_or(&[][..], Vec::as_slice);
    let mut hosts = Vec::new();
    if written.default_host.value_or(!written.is_passthrough()) {
        if let Some(default) = service.and_then(|service| default_host(role, service, at, faults)) {
            // Written out as a custom name as well, the default one stands for itself.
            let place =
                custom.iter().find(|host| *host.get_ref() == default).map_or(at.clone(), Spanned::span);
            if let Some((owner, first)) = owners.get(&default) {
                faults.push(host_taken(&default, *owner, first, &place));
            } else {
                owners.insert(default.clone(), (role, place));
                hosts.push(default);
            }
        }
    } else if custom.is_empty() && !matches!(written.hosts, Key::Refused(_)) {
        let problem = Problem::new(Code::NoHost, format!("the endpoint `{role}` has no name"))
            .label("without its default name it needs others")
            .help(match written.is_passthrough() {
                true => "add `hosts = [\"api.contoso.com\"]`, or `default_host = true`",
                false => "add `hosts = [\"api.contoso.com\"]`, or remove `default_host = false`",
            });
        faults.push(problem.at(written.default_host.span().unwrap_or(at.clone())));
    }
    for host in custom {
        let (name, at) = (host.get_ref(), host.span());
        match owners.get(name) {
            Some((owner, first)) if *owner != role => faults.push(host_taken(name, *owner, first, &at)),
            Some((_, first)) if *first == at => {}
            Some((_, first)) => faults.push(given_twice(&format!("the name `{name}`"), first, &at)),
            None => {
                owners.insert(name.clone(), (role, at));
                hosts.push(name.clone());
            }
        }
    }
    hosts
}

/// Parts that are right by themselves may still be too long together.
fn default_host(role: Role, service: &Service, at: &Span, faults: &mut Vec<Fault>) -> Option<HostPattern> {
    match value::host_name(&role.default_host(service)) {
        Ok(name) => Some(HostPattern::Exact(name)),
        Err(problem) => {
            faults.push(problem.help("it is made from `service.name` and `service.suffix`").at(at.clone()));
            None
        }
    }
}

fn host_taken(name: &HostPattern, owner: Role, first: &Span, at: &Span) -> Fault {
    Problem::new(Code::HostTaken, format!("the name `{name}` leads to the role `{owner}` already"))
        .label("a name leads to one role")
        .help("keep it at one of the two")
        .at(at.clone())
        .also(first.clone(), format!("`{owner}` has it here"))
}
