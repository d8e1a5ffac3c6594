//! The file as written: each key by itself is right, or has been reported; how they go together is for
//! [`super::resolve`].

mod limits;
mod proxy;
mod route;

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use ipnet::IpNet;

use super::{
    fault::Span,
    read::{Key, List, Reader},
    value,
};
use crate::model::{
    AdminState, Affinity, AllDown, Demand, Forwarding, HostPattern, InstanceName, Mode, OnDown, ProbeKind,
    ProxyProtocol, Role, StatusCodes, Upstream, Via,
};

pub(super) use self::{
    limits::ProxyLimits,
    proxy::{AccessLog, Proxy},
    route::{Fields, Health, Redirect, Route, UpstreamLimits, UpstreamTls},
};

/// All of it.
#[derive(Debug)]
pub(super) struct File {
    /// Its end, where what is missing would be added.
    pub end: Span,
    /// `[service]`
    pub service: Service,
    /// `[network]`
    pub network: Network,
    /// `[vip]`
    pub vip: Vip,
    /// `[balancer]`
    pub balancer: Balancer,
    /// `[[instance]]`
    pub instances: Key<Vec<Instance>>,
    /// `[probe]`
    pub probe: Probe,
    /// `[[endpoint]]`
    pub endpoints: Key<Vec<Endpoint>>,
    /// `[proxy]`
    pub proxy: Proxy,
    /// `[snat]`
    pub snat: Snat,
    /// `[dns]`
    pub dns: Dns,
}

impl File {
    /// Reads every key.
    pub(super) fn read(mut root: Reader<'_, '_, '_>) -> Self {
        Self {
            end: root.at(),
            service: Service::read(root.inner("service")),
            network: Network::read(root.inner("network")),
            vip: Vip::read(root.inner("vip")),
            balancer: Balancer::read(root.inner("balancer")),
            instances: root.inners("instance", Instance::read),
            probe: Probe::read(root.inner("probe")),
            endpoints: root.inners("endpoint", Endpoint::read),
            proxy: Proxy::read(root.inner("proxy")),
            snat: Snat::read(root.inner("snat")),
            dns: Dns::read(root.inner("dns")),
        }
    }
}

/// `[service]`
#[derive(Debug)]
pub(super) struct Service {
    /// Its header.
    pub at: Span,
    /// R5
    pub name: Key<String>,
    /// Of the default names.
    pub suffix: Key<String>,
    /// R1
    pub mode: Key<Mode>,
}

impl Service {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let modes = [("internal", Mode::Internal), ("external", Mode::External), ("none", Mode::None)];
        Self {
            at: table.at(),
            name: table.text("name", value::service_name),
            suffix: table.text("suffix", value::host_name),
            mode: table.word("mode", &modes),
        }
    }
}

/// `[network]`
#[derive(Debug)]
pub(super) struct Network {
    /// Its header.
    pub at: Span,
    /// VIPs and DIPs come from here.
    pub subnet: Key<List<IpNet>>,
    /// Inside.
    pub vnet: Key<List<IpNet>>,
    /// Inside too.
    pub peered: Key<List<IpNet>>,
}

impl Network {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            subnet: table.texts_all_good("subnet", value::prefix),
            vnet: table.texts("vnet", value::prefix),
            peered: table.texts("peered", value::prefix),
        }
    }
}

/// `[vip]`
#[derive(Debug)]
pub(super) struct Vip {
    /// Its header.
    pub at: Span,
    /// R13, R14
    pub private: Key<List<IpAddr>>,
    /// R20
    pub public: Key<List<IpAddr>>,
}

impl Vip {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            private: table.texts("private", value::address),
            public: table.texts("public", value::address),
        }
    }
}

/// `[balancer]`
#[derive(Debug)]
pub(super) struct Balancer {
    /// Its header.
    pub at: Span,
    /// The one interface.
    pub interface: Key<String>,
    /// Of two interfaces the inner one.
    pub inside: Key<String>,
    /// Of two interfaces the outer one.
    pub outside: Key<String>,
    /// The way to the instances.
    pub forwarding: Key<Forwarding>,
    /// The balancers' own.
    pub address: Key<List<IpAddr>>,
    /// R80
    pub affinity: Key<Affinity>,
    /// R20f
    pub management_sources: Key<List<IpNet>>,
    /// R83
    pub drain: Key<Duration>,
    /// Where the API listens.
    pub admin: Key<SocketAddr>,
    /// Who may use it.
    pub tokens: Key<String>,
    /// Of ring and flow hash.
    pub seed: Key<String>,
}

impl Balancer {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let forwardings = [
            ("l2", Forwarding::L2),
            ("ipip", Forwarding::Ipip),
            ("gue", Forwarding::Gue),
            ("nat", Forwarding::Nat),
        ];
        let affinities = [
            ("five-tuple", Affinity::FiveTuple),
            ("three-tuple", Affinity::ThreeTuple),
            ("source-address", Affinity::SourceAddress),
        ];
        Self {
            at: table.at(),
            interface: table.text("interface", value::interface_name),
            inside: table.text("inside", value::interface_name),
            outside: table.text("outside", value::interface_name),
            forwarding: table.word("forwarding", &forwardings),
            address: table.texts("address", value::address),
            affinity: table.word("affinity", &affinities),
            management_sources: table.texts("management_sources", value::prefix),
            drain: table.duration("drain"),
            admin: table.text("admin", value::socket_address),
            tokens: table.text("tokens", value::text),
            seed: table.text("seed", value::text),
        }
    }
}

/// `[[instance]]`
#[derive(Debug)]
pub(super) struct Instance {
    /// Its header.
    pub at: Span,
    /// Unique.
    pub name: Key<InstanceName>,
    /// R33
    pub dip: Key<List<IpAddr>>,
    /// R11
    pub weight: Key<u16>,
    /// R83
    pub admin_state: Key<AdminState>,
}

impl Instance {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let states = [("auto", AdminState::Auto), ("up", AdminState::Up), ("down", AdminState::Down)];
        Self {
            at: table.at(),
            name: table.text("name", value::instance_name),
            dip: table.texts("dip", value::address),
            weight: table.whole("weight"),
            admin_state: table.word("admin_state", &states),
        }
    }
}

/// `[probe]`
#[derive(Debug)]
pub(super) struct Probe {
    /// R81
    pub kind: Key<ProbeKind>,
    /// Which way.
    pub via: Key<Via>,
    /// On the DIP.
    pub port: Key<u16>,
    /// On the VIPs.
    pub vip_port: Key<u16>,
    /// R46
    pub path: Key<String>,
    /// `Host` and SNI.
    pub host: Key<String>,
    /// Good answers.
    pub status: Key<StatusCodes>,
    /// Of certificates.
    pub verify: Key<bool>,
    /// From one to the next.
    pub interval: Key<Duration>,
    /// For an answer.
    pub timeout: Key<Duration>,
    /// Good answers in a row.
    pub rise: Key<u16>,
    /// Bad ones.
    pub fall: Key<u16>,
    /// R82
    pub on_down: Key<OnDown>,
    /// R82
    pub all_down: Key<AllDown>,
    /// In per cent.
    pub panic: Key<u16>,
    /// Of a returning instance.
    pub slow_start: Key<Duration>,
    /// From one connection through the VIP to the next.
    pub availability: Key<Duration>,
}

impl Probe {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let kinds = [("tcp", ProbeKind::Tcp), ("http", ProbeKind::Http), ("https", ProbeKind::Https)];
        let vias = [("instance", Via::Instance), ("vip", Via::Vip)];
        let on_down = [("keep", OnDown::Keep), ("reset", OnDown::Reset), ("auto", OnDown::Auto)];
        let all_down = [("refuse", AllDown::Refuse), ("all-up", AllDown::AllUp)];
        Self {
            kind: table.word("kind", &kinds),
            via: table.word("via", &vias),
            port: table.whole("port"),
            vip_port: table.whole("vip_port"),
            path: table.text("path", value::probe_path),
            host: table.text("host", value::host_name),
            status: table.text("status", value::status_codes),
            verify: table.switch("verify"),
            interval: table.duration("interval"),
            timeout: table.duration("timeout"),
            rise: table.whole("rise"),
            fall: table.whole("fall"),
            on_down: table.word("on_down", &on_down),
            all_down: table.word("all_down", &all_down),
            panic: table.whole("panic"),
            slow_start: table.duration("slow_start"),
            availability: table.duration("availability"),
        }
    }
}

/// `[[endpoint]]`
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Its header.
    pub at: Span,
    /// R42
    pub role: Key<Role>,
    /// R44
    pub hosts: Key<List<HostPattern>>,
    /// Beside the custom names or not.
    pub default_host: Key<bool>,
    /// Where TLS ends.
    pub mode: Key<EndpointMode>,
    /// R45
    pub certificate: Key<Vec<Certificate>>,
    /// Who may issue those of clients.
    pub client_ca: Key<String>,
    /// Whether these have to show one.
    pub client_certificate: Key<Demand>,
    /// R71
    pub routes: Key<Vec<Route>>,
    /// Of those that are passed through.
    pub upstream: Key<List<Upstream>>,
    /// The same, for while none of those is in service.
    pub backup: Key<List<Upstream>>,
    /// Of both. None where the table is not written.
    pub health: Option<ConnectHealth>,
    /// What these are told.
    pub proxy_protocol: Key<ProxyProtocol>,
}

/// `health = { … }` of what is passed through.
#[derive(Debug)]
pub(super) struct ConnectHealth {
    /// The table.
    pub at: Span,
    /// From one to the next.
    pub interval: Key<Duration>,
    /// For a connection.
    pub timeout: Key<Duration>,
    /// Connections in a row.
    pub rise: Key<u16>,
    /// Failures in a row.
    pub fall: Key<u16>,
}

impl ConnectHealth {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            interval: table.duration("interval"),
            timeout: table.duration("timeout"),
            rise: table.whole("rise"),
            fall: table.whole("fall"),
        }
    }
}

/// `mode` of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointMode {
    /// TLS ends here.
    Terminate,
    /// It does not.
    Passthrough,
}

impl Endpoint {
    /// Whether TLS for its names ends elsewhere.
    pub(super) fn is_passthrough(&self) -> bool {
        self.mode.value() == Some(&EndpointMode::Passthrough)
    }

    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let roles = Role::ALL.map(|role| (role.as_str(), role));
        let modes = [("terminate", EndpointMode::Terminate), ("passthrough", EndpointMode::Passthrough)];
        let demands = [("required", Demand::Required), ("optional", Demand::Optional)];
        let headers = [("none", ProxyProtocol::None), ("v2", ProxyProtocol::V2)];
        Self {
            at: table.at(),
            role: table.word("role", &roles),
            hosts: table.texts("hosts", value::host_pattern),
            default_host: table.switch("default_host"),
            mode: table.word("mode", &modes),
            certificate: table.one_or_more("certificate", Certificate::read),
            client_ca: table.text("client_ca", value::file_path),
            client_certificate: table.word("client_certificate", &demands),
            routes: table.inners("routes", Route::read),
            upstream: table.texts("upstream", value::upstream),
            backup: table.texts("backup", value::upstream),
            health: table.has("health").then(|| ConnectHealth::read(table.inner("health"))),
            proxy_protocol: table.word("proxy_protocol", &headers),
        }
    }
}

/// `certificate = { … }`
#[derive(Debug)]
pub(super) struct Certificate {
    /// The table.
    pub at: Span,
    /// A path.
    pub chain: Key<String>,
    /// A path.
    pub key: Key<String>,
}

impl Certificate {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            chain: table.text("chain", value::file_path),
            key: table.text("key", value::file_path),
        }
    }
}

/// `[snat]`
#[derive(Debug)]
pub(super) struct Snat {
    /// R31
    pub enabled: Key<bool>,
    /// R34
    pub ports_per_instance: Key<u16>,
    /// Of a block without flows.
    pub return_after: Key<Duration>,
}

impl Snat {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            enabled: table.switch("enabled"),
            ports_per_instance: table.whole("ports_per_instance"),
            return_after: table.duration("return_after"),
        }
    }
}

/// `[dns]`
#[derive(Debug)]
pub(super) struct Dns {
    /// R52
    pub serve: Key<bool>,
    /// Servers for other names.
    pub forward: Key<List<SocketAddr>>,
    /// Of every record.
    pub ttl: Key<Duration>,
    /// Of NS records.
    pub name_servers: Key<List<String>>,
    /// Of SOA records.
    pub serial: Key<u32>,
    /// Of a source.
    pub rate: Key<u32>,
}

impl Dns {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            serve: table.switch("serve"),
            forward: table.texts("forward", value::name_server),
            ttl: table.duration("ttl"),
            name_servers: table.texts("name_servers", value::host_name),
            serial: table.whole("serial"),
            rate: table.whole("rate"),
        }
    }
}
