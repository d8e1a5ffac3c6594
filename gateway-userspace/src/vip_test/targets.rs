//! What is tried: every name of every role, at every VIP and port where it is served. Pure.

use std::net::SocketAddr;

use crate::model::{Demand, HTTP_PORT, HTTPS_PORT, HostPattern, MANAGEMENT_PORT, Model, PlainHttp, Role};

/// What stands in the place of a wildcard's asterisk.
const STAND_IN: &str = "gateway-test";

/// A connection to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) role: &'static str,
    /// As the file has it.
    pub(super) name: String,
    /// What is asked for: of a wildcard a name that it stands for.
    pub(super) host: String,
    pub(super) at: SocketAddr,
    pub(super) expects: Expects,
}

/// What has to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expects {
    /// A certificate for the name, then an answer.
    Answer,
    /// A certificate for the name; what is spoken then is the upstream's.
    Handshake,
    /// As [`Self::Answer`], by clients that show a certificate, which this one has none of.
    ClientCertificate,
    /// A redirect to https.
    Redirect,
    /// An answer in plain text.
    Plain,
}

/// All of them, by role as in the file.
pub(super) fn all(model: &Model) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |role: Role, hosts: &[HostPattern], encrypted: Expects| {
        for host in hosts {
            let asked = host.with_label(STAND_IN);
            for vip in model.vip.all() {
                for port in model.ports(vip) {
                    let expects = match port {
                        HTTPS_PORT => encrypted,
                        MANAGEMENT_PORT if role == Role::Management => encrypted,
                        // Plain requests for what is passed through have nowhere to go.
                        HTTP_PORT if encrypted == Expects::Handshake => continue,
                        HTTP_PORT if model.proxy.http == PlainHttp::Redirect => Expects::Redirect,
                        HTTP_PORT => Expects::Plain,
                        _ => continue,
                    };
                    let at = SocketAddr::new(vip, port);
                    targets.push(Target {
                        role: role.as_str(),
                        name: host.to_string(),
                        host: asked.clone(),
                        at,
                        expects,
                    });
                }
            }
        }
    };
    for endpoint in &model.endpoints {
        let demands = endpoint.clients.as_ref().is_some_and(|clients| clients.demand == Demand::Required);
        let expects = if demands { Expects::ClientCertificate } else { Expects::Answer };
        add(endpoint.role, &endpoint.hosts, expects);
    }
    for one in &model.passthrough {
        add(one.role, &one.hosts, Expects::Handshake);
    }
    targets
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn of(text: &str) -> Vec<String> {
        let model = config::parse(text.to_owned(), Path::new("gateway.toml"), Path::new("")).unwrap();
        all(&model)
            .iter()
            .map(|one| format!("{} {} {} {:?}", one.role, one.host, one.at, one.expects))
            .collect()
    }

    #[test]
    fn every_name_is_tried_where_it_is_served_and_nowhere_else() {
        let targets = of(include_str!("../../../docs/examples/internal.toml"));
        for expected in [
            "gateway contoso.azure-api.net 10.0.0.5:443 Answer",
            "gateway gateway-test.api.contoso.com [fd00:0:0:1::5]:443 Answer",
            "gateway api.contoso.com 10.0.0.5:80 Redirect",
            "management contoso.management.azure-api.net 10.0.0.5:443 Answer",
            "management contoso.management.azure-api.net 10.0.0.5:3443 Answer",
            "management contoso.management.azure-api.net 203.0.113.5:3443 Answer",
        ] {
            assert!(targets.iter().any(|target| target == expected), "{expected} is missing in {targets:#?}");
        }
        let public: Vec<_> = targets.iter().filter(|target| target.contains("203.0.113.5")).collect();
        assert_eq!(public.len(), 1, "internal mode: {public:?}");
        assert!(targets.iter().all(|target| !target.contains("3443") || target.starts_with("management")));
    }

    #[test]
    fn in_external_mode_the_public_vip_has_every_name() {
        let targets = of(include_str!("../../../docs/examples/external.toml"));
        assert!(
            targets.iter().any(|target| target.starts_with("gateway ") && target.contains("203.0.113.5:443")),
            "{targets:?}"
        );
    }
}
