//! From the configuration to the records of its names. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Serial;
use crate::model::{HostPattern, Mode, Model, PlainHttp, Role};

/// What the DNS says of all names. They have the same addresses, since a VIP serves them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The service, for people.
    pub service: String,
    /// In seconds.
    pub ttl: u32,
    /// Of SOA records.
    pub serial: Serial,
    /// Of NS records; empty: each zone's own name.
    pub name_servers: Vec<String>,
    /// Of A records, in the file's order.
    pub v4: Vec<Ipv4Addr>,
    /// Of AAAA records.
    pub v6: Vec<Ipv6Addr>,
    /// Exact ones in the order of the alphabet, then wildcards: the same however the file is ordered.
    pub names: Vec<Named>,
    /// Who is answered (R3).
    pub inside: Vec<IpNet>,
    /// Whether the addresses are public ones.
    pub mode: Mode,
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Itself.
    pub host: HostPattern,
    /// What it is for.
    pub role: Role,
    /// Whether it has an HTTPS record.
    pub https: bool,
}

impl Records {
    /// Of every name that the proxy answers to, default and custom (R50).
    pub fn new(model: &Model, serial: Serial) -> Self {
        // Browsers take an HTTPS record for an order never to speak plain HTTP (RFC 9460, 9.5).
        let https = model.proxy.http != PlainHttp::Serve;
        let ours = model.hosts().map(|(host, role)| Named { host: host.clone(), role, https });
        // What an upstream that ends TLS itself can speak is not known.
        let through = model.passthrough.iter().flat_map(|one| {
            one.hosts.iter().map(|host| Named { host: host.clone(), role: one.role, https: false })
        });
        let mut names: Vec<_> = ours.chain(through).collect();
        names.sort_by(|one, other| one.host.cmp(&other.host));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in model.entrances() {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        Self {
            service: model.service.name.clone(),
            ttl: u32::try_from(model.dns.ttl.as_secs()).unwrap_or(u32::MAX),
            serial,
            name_servers: model.dns.name_servers.clone(),
            v4,
            v6,
            names,
            inside: model.network.inside().collect(),
            mode: model.service.mode,
        }
    }

    /// IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.v4.iter().copied().map(IpAddr::V4).chain(self.v6.iter().copied().map(IpAddr::V6))
    }

    /// Names that stand for one name each.
    pub fn exact(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.names.iter().filter_map(|named| match &named.host {
            HostPattern::Exact(name) => Some((name.as_str(), named)),
            HostPattern::Wildcard(_) => None,
        })
    }

    /// What wildcards stand above: `api.contoso.com` of `*.api.contoso.com`.
    pub fn wildcards(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.names.iter().filter_map(|named| match &named.host {
            HostPattern::Wildcard(parent) => Some((parent.as_str(), named)),
            HostPattern::Exact(_) => None,
        })
    }

    /// The wildcard above which this name is.
    pub fn wildcard_of(&self, parent: &str) -> Option<&Named> {
        self.wildcards().find(|(other, _)| *other == parent).map(|(_, named)| named)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::{
        model::{Endpoint, Passthrough, ProxyProtocol},
        testing::model,
    };

    /// Two VIPs; names of two roles, a wildcard above one of them and one above nothing, a name that is passed through.
    pub(crate) fn model_with_names() -> Model {
        let mut model = model(&["gw-1"]);
        model.vip.private.push("fd00:0:0:1::5".parse().unwrap());
        let exact = |name: &str| HostPattern::Exact(name.into());
        let wildcard = |name: &str| HostPattern::Wildcard(name.into());
        let endpoint =
            |role, hosts| Endpoint { role, hosts, certificates: vec![], clients: None, routes: vec![] };
        model.endpoints = vec![
            endpoint(Role::Management, vec![exact("contoso.management.azure-api.net")]),
            endpoint(
                Role::Gateway,
                vec![
                    exact("contoso.azure-api.net"),
                    wildcard("shop.contoso.com"),
                    exact("api.contoso.com"),
                    exact("v1.test.api.contoso.com"),
                    wildcard("api.contoso.com"),
                ],
            ),
        ];
        model.passthrough = vec![Passthrough {
            role: Role::Developer,
            hosts: vec![exact("through.contoso.com")],
            upstream: vec![],
            backup: vec![],
            health: None,
            proxy_protocol: ProxyProtocol::None,
        }];
        model
    }

    pub(crate) fn records() -> Records {
        Records::new(&model_with_names(), Serial(1_800_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn r50_every_name_has_its_place_whatever_the_files_order() {
        let names = |model: &Model| {
            let records = Records::new(model, Serial(1));
            records.names.iter().map(|named| format!("{} {}", named.host, named.role)).collect::<Vec<_>>()
        };
        let mut model = model_with_names();
        let expected = [
            "api.contoso.com gateway",
            "contoso.azure-api.net gateway",
            "contoso.management.azure-api.net management",
            "through.contoso.com developer",
            "v1.test.api.contoso.com gateway",
            "*.api.contoso.com gateway",
            "*.shop.contoso.com gateway",
        ];
        assert_eq!(names(&model), expected);
        model.endpoints.reverse();
        model.endpoints[0].hosts.reverse();
        assert_eq!(names(&model), expected);
    }

    #[test]
    fn r54_names_lead_to_the_private_vip_or_in_external_mode_to_the_public_one() {
        let mut model = model_with_names();
        let addresses = |model: &Model| {
            Records::new(model, Serial(1)).addresses().map(|ip| ip.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(&model), ["10.0.0.5", "fd00:0:0:1::5"]);
        model.service.mode = Mode::External;
        assert_eq!(addresses(&model), ["203.0.113.5"]);
        model.service.mode = Mode::None;
        assert_eq!(addresses(&model), ["10.0.0.11"], "and without VIPs to the instances");
    }

    #[test]
    fn an_https_record_is_where_tls_ends_here_and_plain_http_is_not_served() {
        let mut model = model_with_names();
        let with = |model: &Model| {
            let records = Records::new(model, Serial(1));
            records
                .names
                .iter()
                .filter(|named| named.https)
                .map(|named| named.host.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(with(&model).len(), 6);
        assert!(!with(&model).contains(&"through.contoso.com".to_owned()));
        model.proxy.http = PlainHttp::Serve;
        assert!(with(&model).is_empty());
    }
}
