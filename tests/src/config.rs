//! `gateway.toml` as tests want it: the lab's own by default, every part of it to be changed.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::Serialize;

use crate::{
    address::{BALANCER, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, Station},
    ca::Leaf,
    mode::Mode,
    service,
};

/// The whole file. Field names are the file's keys.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// `[service]`
    pub service: Service,
    /// `[network]`
    pub network: Network,
    /// `[vip]`
    pub vip: Vip,
    /// `[balancer]`
    pub balancer: Balancer,
    /// `[[instance]]`
    pub instance: Vec<Instance>,
    /// `[probe]`
    pub probe: Probe,
    /// `[[endpoint]]`
    pub endpoint: Vec<Endpoint>,
    /// `[proxy]`
    pub proxy: Proxy,
    /// Where none is written, the instances answer no DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// `[snat]`; none: it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snat: Option<Snat>,
}

/// `[service]`
#[derive(Debug, Clone, Serialize)]
pub struct Service {
    /// Default host names are made from it.
    pub name: String,
    /// What they end in.
    pub suffix: String,
    /// internal, external, none
    pub mode: String,
}

/// `[network]`
#[derive(Debug, Clone, Serialize)]
pub struct Network {
    /// VIPs and DIPs come from here.
    pub subnet: Vec<String>,
    /// Inside.
    pub vnet: Vec<String>,
    /// Inside too.
    pub peered: Vec<String>,
}

/// `[vip]`
#[derive(Debug, Clone, Serialize)]
pub struct Vip {
    /// Inside.
    pub private: Vec<IpAddr>,
    /// Outside.
    pub public: Vec<IpAddr>,
}

/// `[balancer]`
#[derive(Debug, Clone, Serialize)]
pub struct Balancer {
    /// Where XDP is attached; empty where there are two.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// In place of it, with the next.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub inside: String,
    /// See [`Self::inside`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub outside: String,
    /// l2 and so on.
    pub forwarding: String,
    /// The balancers' own addresses.
    pub address: Vec<IpAddr>,
    /// five-tuple and so on.
    pub affinity: String,
    /// Empty: all.
    pub management_sources: Vec<String>,
    /// How long a drained instance keeps its flows, as in `30s`.
    pub drain: String,
    /// Where the API listens; none: on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// The file of its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,
}

/// `[[instance]]`
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// gw-1 and so on.
    pub name: String,
    /// Its own addresses.
    pub dip: Vec<IpAddr>,
    /// Its share.
    pub weight: u32,
    /// auto, up, down
    pub admin_state: String,
}

/// `[probe]`; what is none is left to the program's default.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Probe {
    /// tcp, http, https
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// instance, vip
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// On the DIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// On the VIPs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vip_port: Option<u16>,
    /// Connections through the VIP beside the probes, as in `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability: Option<String>,
    /// `Host` and SNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Good answers, as in `200-299, 401`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// As in `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// As in `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Good answers in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<u16>,
    /// Bad ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<u16>,
    /// keep, reset, auto
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_down: Option<String>,
    /// refuse, all-up
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_down: Option<String>,
    /// In per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic: Option<u8>,
    /// As in `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<String>,
}

/// `[[endpoint]]`
#[derive(Debug, Clone, Serialize)]
pub struct Endpoint {
    /// gateway and so on.
    pub role: String,
    /// Beside the default name.
    pub hosts: Vec<String>,
    /// What its clients are shown.
    pub certificate: Certificate,
    /// Where its requests go.
    pub routes: Vec<Route>,
}

/// `certificate = { … }`
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// PEM file.
    pub chain: PathBuf,
    /// PEM file.
    pub key: PathBuf,
}

impl From<Leaf> for Certificate {
    fn from(leaf: Leaf) -> Self {
        Self { chain: leaf.chain, key: leaf.key }
    }
}

/// `routes = [{ … }]`
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    /// A prefix of whole segments.
    pub path: String,
    /// `http://address:port`
    pub upstream: Vec<String>,
}

impl Route {
    /// To one of [`service::NAMES`], over IPv4.
    pub fn to(path: &str, name: &str) -> Self {
        let upstream = service::addresses(name).map(|[v4, _]| format!("http://{v4}"));
        Self { path: path.to_owned(), upstream: upstream.into_iter().collect() }
    }
}

/// `[proxy]`
#[derive(Debug, Clone, Serialize)]
pub struct Proxy {
    /// reject, default-certificate
    pub no_sni: String,
    /// redirect, serve, off
    pub http: String,
    /// Where none is written, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// `[dns]`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Dns {
    /// At port 53 of the private VIPs.
    pub serve: bool,
    /// Who knows other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<String>,
    /// As in `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Of SOA records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Of a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// `[snat]`
#[derive(Debug, Clone, Serialize)]
pub struct Snat {
    /// Whether flows to the outside leave by the public VIPs.
    pub enabled: bool,
    /// Of each public VIP; none: by the number of instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports_per_instance: Option<u16>,
    /// As in `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_after: Option<String>,
}

/// `[proxy.access_log]`
#[derive(Debug, Clone, Serialize)]
pub struct AccessLog {
    /// The file.
    pub path: PathBuf,
}

impl Instance {
    /// The n-th, from 1, with its addresses in the lab. It is up whatever its probes say, since most tests' instances are
    /// only wires, without a proxy; see [`Config::probed`].
    pub fn nth(n: u8) -> Self {
        Self {
            name: format!("gw-{n}"),
            dip: Station::instance(n).addresses().to_vec(),
            weight: 100,
            admin_state: "up".to_owned(),
        }
    }
}

impl Config {
    /// The lab's: service `contoso`, these instances, every role to the service of its name, `/orders` of the gateway role to
    /// the service `orders`. `certificates` has one for each role.
    pub fn new(instances: u8, certificates: &BTreeMap<&'static str, Leaf>) -> Self {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let endpoint = |(role, leaf): (&&'static str, &Leaf)| {
            let mut routes = vec![Route::to("/", role)];
            if *role == "gateway" {
                routes.push(Route::to("/orders", "orders"));
            }
            Endpoint {
                role: (*role).to_owned(),
                hosts: custom_host(role).map(str::to_owned).into_iter().collect(),
                certificate: leaf.clone().into(),
                routes,
            }
        };
        Self {
            service: Service {
                name: "contoso".to_owned(),
                suffix: "azure-api.net".to_owned(),
                mode: "internal".to_owned(),
            },
            network: Network {
                subnet: text(&["10.0.0.0/24", "fd00:0:0:1::/64"]),
                vnet: text(&["10.0.0.0/16", "fd00::/48"]),
                peered: text(&["10.8.0.0/16", "fd00:0:8::/48"]),
            },
            vip: Vip {
                private: vec![PRIVATE.into(), PRIVATE6.into()],
                public: vec![PUBLIC.into(), PUBLIC6.into()],
            },
            balancer: Balancer {
                interface: "eth0".to_owned(),
                inside: String::new(),
                outside: String::new(),
                forwarding: "l2".to_owned(),
                address: BALANCER.addresses().to_vec(),
                affinity: "five-tuple".to_owned(),
                management_sources: Vec::new(),
                drain: "1h".to_owned(),
                admin: None,
                tokens: None,
            },
            instance: (1..=instances).map(Instance::nth).collect(),
            probe: Probe::default(),
            endpoint: certificates.iter().map(endpoint).collect(),
            proxy: Proxy { no_sni: "reject".to_owned(), http: "redirect".to_owned(), access_log: None },
            dns: None,
            snat: None,
        }
    }

    /// The same with packets reaching the instances in another way.
    #[must_use]
    pub fn forwarding(mut self, mode: Mode) -> Self {
        mode.forwarding().clone_into(&mut self.balancer.forwarding);
        if mode.outer_is_v6() {
            // The first DIP that is reached is the one that is used.
            self.instance.iter_mut().for_each(|instance| instance.dip.reverse());
        }
        self
    }

    /// The same with flows to the outside that leave by the public VIPs.
    #[must_use]
    pub fn snat(mut self, ports_per_instance: Option<u16>) -> Self {
        self.snat = Some(Snat { enabled: true, ports_per_instance, return_after: None });
        self
    }

    /// The same with instances that are in service as long as their probes say so.
    #[must_use]
    pub fn probed(mut self) -> Self {
        self.instance.iter_mut().for_each(|instance| "auto".clone_into(&mut instance.admin_state));
        self
    }

    /// The same in mode `none`, in which nothing is said of VIPs and a balancer.
    ///
    /// # Panics
    /// It cannot be written as TOML.
    pub fn none(mut self) -> String {
        "none".clone_into(&mut self.service.mode);
        let mut file = toml::Table::try_from(&self).expect("the file can be written as TOML");
        for table in ["network", "vip", "balancer"] {
            file.remove(table);
        }
        let instances = file.get_mut("instance").and_then(toml::Value::as_array_mut).into_iter().flatten();
        instances.filter_map(toml::Value::as_table_mut).for_each(|instance| drop(instance.remove("weight")));
        file.to_string()
    }

    /// The same with instances that answer DNS.
    #[must_use]
    pub fn answering_dns(mut self) -> Self {
        self.dns = Some(Dns { serve: true, ..Dns::default() });
        self
    }

    /// The endpoint of a role.
    ///
    /// # Panics
    /// There is none.
    pub fn endpoint_mut(&mut self, role: &str) -> &mut Endpoint {
        self.endpoint.iter_mut().find(|endpoint| endpoint.role == role).expect("a role of the lab's file")
    }
}

/// R42: the name that a role has without configuration, for the service `contoso`.
pub fn default_host(role: &str) -> String {
    match role {
        "gateway" => "contoso.azure-api.net".to_owned(),
        other => format!("contoso.{other}.azure-api.net"),
    }
}

/// The name that a role has beside its default one, if any.
pub fn custom_host(role: &str) -> Option<&'static str> {
    match role {
        "gateway" => Some("api.contoso.com"),
        _ => None,
    }
}
