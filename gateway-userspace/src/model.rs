//! The configuration once it is known to be right: every value parsed, every reference resolved.
//!
//! [`crate::config`] makes it from `gateway.toml`; everything behind reads only this. Nothing here does I/O.

mod admin;
mod client;
mod dns;
mod fields;
mod limits;
mod passthrough;
mod places;
mod probe;
mod proxy;
mod route;
mod snat;
mod upstream;

use std::{collections::BTreeSet, fmt, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::near;

pub use self::{
    client::{ClientCertificates, Demand},
    dns::{DNS_PORT, Dns},
    fields::FieldChanges,
    limits::ProxyLimits,
    passthrough::{Passthrough, ProxyProtocol},
    places::Places,
    probe::{AllDown, OnDown, Probe, ProbeKind, ProbeVersion, StatusCodes, Via},
    proxy::{AccessLog, AccessLogFormat, NoSni, PlainHttp, Proxy},
    route::{
        Action, Backend, Balance, HealthCheck, Location, Prefix, Redirect, Rest, Route, UpstreamLimits,
        UpstreamScheme,
    },
    snat::Snat,
    upstream::{Upstream, UpstreamAddress, UpstreamTls},
};

/// The TCP port of the management endpoint, the one open port of the public VIP in internal mode (R20).
pub const MANAGEMENT_PORT: u16 = 3443;
/// The TCP port on which every role is served over TLS (R13).
pub const HTTPS_PORT: u16 = 443;
/// The TCP port that answers with a redirect to https (R13).
pub const HTTP_PORT: u16 = 80;

/// All ports on which clients are served, wherever they are.
pub const PORTS: [u16; 3] = [HTTPS_PORT, HTTP_PORT, MANAGEMENT_PORT];

/// Days before the end of a certificate from which it is told of: in the proxy's log, by `gateway doctor` and `gateway test`, on the page.
/// ACME clients renew 30 days before it: one that has not by then has failed for more than a week.
pub const CERTIFICATE_ENDS_SOON: u8 = 21;

/// What separates a private VIP's port from its port on the instances, with `nat`.
const PRIVATE_BACKEND: u32 = 10_000;
/// The same for a public VIP.
const PUBLIC_BACKEND: u32 = 20_000;
/// What each further VIP of the same kind and family adds to it.
const NEXT_BACKEND: u32 = 20_000;

/// A whole, valid `gateway.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What the service is called and who may reach it.
    pub service: Service,
    /// What counts as inside.
    pub network: Network,
    /// The virtual addresses.
    pub vip: Vips,
    /// How packets are spread.
    pub balancer: Balancer,
    /// The instances, in the order of the file; names are unique and so are DIPs.
    pub instances: Vec<Instance>,
    /// Where they are in it.
    pub places: Places,
    /// How instances are probed.
    pub probe: Probe,
    /// One entry a role, in the order of the file.
    pub endpoints: Vec<Endpoint>,
    /// Names whose TLS does not end here.
    pub passthrough: Vec<Passthrough>,
    /// How the proxy answers.
    pub proxy: Proxy,
    /// What the names' records say, and who answers for them.
    pub dns: Dns,
    /// By which ports outbound flows leave; None: by the instances' own addresses.
    pub snat: Option<Snat>,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// R5: letters, digits and hyphens, at most 50.
    pub name: String,
    /// The domain suffix of the default host names, without a leading or trailing dot, lower case.
    pub suffix: String,
    /// Who may reach the endpoints (R1).
    pub mode: Mode,
}

/// R1
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Endpoints are reachable from the listed networks only (R2).
    Internal,
    /// Clients enter on the public VIP (R4).
    External,
    /// No virtual network: the host's own addresses.
    None,
}

impl Mode {
    /// As written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The VIPs and DIPs come from here (R10, R33).
    pub subnet: Vec<IpNet>,
    /// Inside.
    pub vnet: Vec<IpNet>,
    /// Inside too.
    pub peered: Vec<IpNet>,
}

impl Network {
    /// Every prefix from which a private VIP is answered (R2, R14).
    pub fn inside(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.subnet.iter().chain(&self.vnet).chain(&self.peered).copied()
    }
}

/// `[vip]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vips {
    /// R13, R14
    pub private: Vec<IpAddr>,
    /// R4, R20
    pub public: Vec<IpAddr>,
}

impl Vips {
    /// Private ones first, each in the file's order.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.private.iter().chain(&self.public).copied()
    }

    /// Those that belong on an interface of that side, in the order of [`Self::all`].
    pub fn on(&self, side: Side) -> Vec<IpAddr> {
        match side {
            Side::Both => self.all().collect(),
            Side::Inside => self.private.clone(),
            Side::Outside => self.public.clone(),
        }
    }

    /// With `nat`, the port of an instance's own address that stands for `port` of `vip`: 443 of the first private VIP
    /// is 10443, 3443 of the first public one 23443. Each VIP has ports of its own, so the balancer can tell from a
    /// reply's source port which VIP and port the client spoke to, without a state for each flow.
    ///
    /// None if `vip` is no VIP, or if the port would be above 65,535: from the fourth VIP of a kind and family on.
    pub fn backend_port(&self, vip: IpAddr, port: u16) -> Option<u16> {
        let kinds = [(&self.private, PRIVATE_BACKEND), (&self.public, PUBLIC_BACKEND)];
        let (nth, first) = kinds.into_iter().find_map(|(vips, first)| {
            let mut family = vips.iter().filter(|other| other.is_ipv4() == vip.is_ipv4());
            Some((family.position(|other| *other == vip)?, first))
        })?;
        let offset = first.checked_add(NEXT_BACKEND.checked_mul(u32::try_from(nth).ok()?)?)?;
        u16::try_from(u32::from(port).checked_add(offset)?).ok()
    }
}

/// `[balancer]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// Where clients' packets arrive.
    pub interfaces: Interfaces,
    /// How a packet travels to its instance.
    pub forwarding: Forwarding,
    /// The own addresses of all balancers of the service: the only outer sources from which instances decapsulate, and
    /// the instances' way back with `nat`. At least one of each family that DIPs have, unless `forwarding` is `l2`.
    pub address: Vec<IpAddr>,
    /// Which fields of a packet choose the instance (R80).
    pub affinity: Affinity,
    /// Who may reach the public VIP's port 3443 (R20f); empty: everyone.
    pub management_sources: Vec<IpNet>,
    /// How long a drained instance may keep its flows.
    pub drain: Duration,
    /// Where API, metrics and overview listen.
    pub admin: SocketAddr,
    /// The file of tokens for the API over TCP.
    pub tokens: Option<PathBuf>,
    /// Seeds ring and flow hash; the same on every balancer of a service. Default: the service's name.
    pub seed: String,
}

/// Where clients' packets arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All VIPs on one interface.
    One(String),
    /// Private VIPs on one, public VIPs on the other (R14).
    Two {
        /// Of the private VIPs.
        inside: String,
        /// Of the public VIPs. What comes here for a private VIP is dropped.
        outside: String,
    },
    /// No VIPs, and no balancer, in mode `none`.
    None,
}

/// What an interface of the balancer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The only one: all VIPs.
    Both,
    /// The private VIPs.
    Inside,
    /// The public VIPs.
    Outside,
}

impl Interfaces {
    /// Their names, the inner one first.
    pub fn sides(&self) -> Vec<(Side, &str)> {
        match self {
            Self::One(name) => vec![(Side::Both, name)],
            Self::Two { inside, outside } => vec![(Side::Inside, inside), (Side::Outside, outside)],
            Self::None => Vec::new(),
        }
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::Two { inside, outside } => write!(f, "{inside} inside, {outside} outside"),
            Self::None => f.write_str("none"),
        }
    }
}

/// The way from balancer to instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// Destination MAC rewritten; same link; direct server return.
    L2,
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Destination address rewritten; replies through the balancer.
    Nat,
}

impl fmt::Display for Forwarding {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Nat => "nat",
        })
    }
}

/// R80
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Addresses, protocol and ports.
    FiveTuple,
    /// Addresses and protocol.
    ThreeTuple,
    /// Addresses.
    SourceAddress,
}

/// `[[instance]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Unique; what rings are ordered by.
    pub name: InstanceName,
    /// Its own addresses (R33), at least one.
    pub dip: Vec<IpAddr>,
    /// Its share of new flows against the others', 1 to 65,535.
    pub weight: u16,
    /// R83
    pub admin_state: AdminState,
}

/// An instance's name: `gw-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceName(pub String);

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// R83
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// The probe decides.
    Auto,
    /// In service whatever the probe says.
    Up,
    /// No new flows; established ones go on.
    Down,
}

impl AdminState {
    /// As written in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// `[[endpoint]]`: a role, its names and where its requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// One endpoint a role.
    pub role: Role,
    /// Every name it answers to: the default one first, if wanted, then the custom ones.
    pub hosts: Vec<HostPattern>,
    /// What is shown to clients of these names: at least one, of which each gets the one that it can verify.
    pub certificates: Vec<CertificateFiles>,
    /// What clients have to show, if anything.
    pub clients: Option<ClientCertificates>,
    /// Longest prefix first.
    pub routes: Vec<Route>,
}

/// R42
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// API calls.
    Gateway,
    /// The portals.
    Portal,
    /// The developer portal.
    Developer,
    /// Management, in internal mode the only role on the public VIP.
    Management,
    /// Git.
    Scm,
}

impl Role {
    /// All of them, in the order in which they are listed for people.
    pub const ALL: [Self; 5] = [Self::Gateway, Self::Portal, Self::Developer, Self::Management, Self::Scm];

    /// As written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Portal => "portal",
            Self::Developer => "developer",
            Self::Management => "management",
            Self::Scm => "scm",
        }
    }

    /// R42: the name that a role has without any configuration, in lower case.
    pub fn default_host(self, service: &Service) -> String {
        let name = service.name.to_ascii_lowercase();
        let suffix = &service.suffix;
        match self {
            Self::Gateway => format!("{name}.{suffix}"),
            other => format!("{name}.{}.{suffix}", other.as_str()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host name, lower case, no trailing dot; or a wildcard one label deep (R44).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.contoso.com`
    Exact(String),
    /// `*.api.contoso.com`, held without the `*.`.
    Wildcard(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl HostPattern {
    /// The name itself; of a wildcard the one with this label, which it stands for.
    pub fn with_label(&self, label: &str) -> String {
        match self {
            Self::Exact(name) => name.clone(),
            Self::Wildcard(parent) => format!("{label}.{parent}"),
        }
    }
}

/// A host as requests name it: the port only where it is none of HTTP's own (RFC 9110, section 4.2.3).
pub(crate) fn authority(host: &str, port: u16) -> String {
    match port {
        HTTP_PORT | HTTPS_PORT => host.to_owned(),
        port => format!("{host}:{port}"),
    }
}

/// PEM files; relative paths in the file are relative to the file's folder, here they are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// Leaf first.
    pub chain: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl Model {
    /// The TCP ports that are served at an address where clients come: a VIP, or in mode `none` a host's own. A public VIP has all
    /// of them in external mode only (R4, R13, R20).
    pub fn ports(&self, address: IpAddr) -> impl Iterator<Item = u16> + use<> {
        let closed = self.service.mode == Mode::Internal && self.vip.public.contains(&address);
        let plain = self.proxy.http != PlainHttp::Off;
        [(HTTPS_PORT, !closed), (HTTP_PORT, !closed && plain), (MANAGEMENT_PORT, true)]
            .into_iter()
            .filter_map(|(port, open)| open.then_some(port))
    }

    /// Every exact name and wildcard, with its role.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostPattern, Role)> {
        self.endpoints.iter().flat_map(|e| e.hosts.iter().map(move |h| (h, e.role)))
    }

    /// The files that the proxy reads beside the configuration, each once.
    pub fn proxy_files(&self) -> BTreeSet<PathBuf> {
        let certificates = self.endpoints.iter().flat_map(|endpoint| &endpoint.certificates);
        let authorities = self.endpoints.iter().filter_map(|endpoint| endpoint.clients.as_ref());
        let upstreams =
            self.endpoints.iter().flat_map(|endpoint| &endpoint.routes).flat_map(Route::upstreams);
        let tls: Vec<_> = upstreams.filter_map(|upstream| upstream.tls.as_deref()).collect();
        let shown = tls.iter().filter_map(|tls| tls.certificate.as_ref());
        let pairs = certificates.chain(shown).flat_map(|files| [&files.chain, &files.key]);
        pairs
            .chain(tls.iter().filter_map(|tls| tls.ca.as_ref()))
            .chain(authorities.map(|clients| &clients.authorities))
            .chain(&self.proxy.ticket_secret)
            .cloned()
            .collect()
    }

    /// The instance of that name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.places.find(&self.instances, name)
    }

    /// The names of all instances, sorted: for messages.
    pub fn instance_names(&self) -> BTreeSet<&InstanceName> {
        self.instances.iter().map(|i| &i.name).collect()
    }

    /// What to say of a name that no instance has: which one may have been meant.
    pub fn no_instance(&self, name: &str) -> String {
        let names: Vec<_> = self.instance_names().into_iter().map(|name| name.0.as_str()).collect();
        near::none_such("instance", name, &names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r4_r20_the_public_vip_has_clients_ports_in_external_mode_only() {
        let mut model = crate::testing::model(&["gw-1"]);
        let ports = |model: &Model| {
            [model.vip.private[0], model.vip.public[0]].map(|vip| model.ports(vip).collect::<Vec<_>>())
        };
        assert_eq!(ports(&model), [vec![443, 80, 3443], vec![3443]]);
        model.service.mode = Mode::External;
        assert_eq!(ports(&model), [vec![443, 80, 3443], vec![443, 80, 3443]]);
        model.proxy.http = PlainHttp::Off;
        assert_eq!(ports(&model), [vec![443, 3443], vec![443, 3443]]);
    }

    fn vips(private: &[&str], public: &[&str]) -> Vips {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Vips { private: parse(private), public: parse(public) }
    }

    #[test]
    fn each_vip_has_ports_of_its_own_on_the_instances() {
        let vips = vips(
            &["10.0.0.5", "fd00::5", "10.0.0.6", "10.0.0.7", "10.0.0.8"],
            &["203.0.113.5", "2001:db8::5", "203.0.113.6", "203.0.113.7"],
        );
        let port = |vip: &str, port| vips.backend_port(vip.parse().unwrap(), port);
        for (vip, of, expected) in [
            ("10.0.0.5", HTTPS_PORT, Some(10_443)),
            ("10.0.0.5", HTTP_PORT, Some(10_080)),
            ("10.0.0.5", MANAGEMENT_PORT, Some(13_443)),
            ("fd00::5", HTTPS_PORT, Some(10_443)),
            ("203.0.113.5", MANAGEMENT_PORT, Some(23_443)),
            ("2001:db8::5", MANAGEMENT_PORT, Some(23_443)),
            ("10.0.0.6", HTTPS_PORT, Some(30_443)),
            ("203.0.113.6", MANAGEMENT_PORT, Some(43_443)),
            ("10.0.0.7", HTTPS_PORT, Some(50_443)),
            ("203.0.113.7", MANAGEMENT_PORT, Some(63_443)),
            ("10.0.0.8", HTTP_PORT, None),
            ("10.0.0.9", HTTPS_PORT, None),
        ] {
            assert_eq!(port(vip, of), expected, "{vip} {of}");
        }
    }

    #[test]
    fn r14_each_vip_is_on_the_interface_of_its_side() {
        let vips = vips(&["10.0.0.5"], &["203.0.113.5"]);
        let on = |side| vips.on(side).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(on(Side::Both), ["10.0.0.5", "203.0.113.5"]);
        assert_eq!(on(Side::Inside), ["10.0.0.5"]);
        assert_eq!(on(Side::Outside), ["203.0.113.5"]);
    }
}
