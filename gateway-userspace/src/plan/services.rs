//! VIPs, the services on them, and the perfect hash tables in which the kernel finds them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{AddrParseError, IpAddr, SocketAddr},
};

use gateway_ebpf::{
    address::Address,
    layout::{self, SCOPES, SIDE_INSIDE, SIDE_OUTSIDE, Service, VIP_ECHO, VIP_FRAGMENTS, VIP_TUNNEL, Vip},
};
use network_types::ip::IpProto;
use serde::{Deserialize, Serialize};

use super::{Error, Plan, numbers, perfect::perfect, sources::EVERYONE, sources::Sources, vip_salt};
use crate::model::{DNS_PORT, Forwarding, MANAGEMENT_PORT, Model};

/// Behind address and port in the name of a UDP service, as /etc/services has it.
pub(crate) const UDP: &str = "/udp";

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// A VIP: what concerns no service of it. On an instance also its own address, where tunnels end.
    Vip(IpAddr),
    /// A TCP port of a VIP.
    Tcp(IpAddr, u16),
    /// A UDP port of a VIP.
    Udp(IpAddr, u16),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Vip(address) => write!(f, "{address}"),
            Self::Tcp(address, port) => write!(f, "{}", SocketAddr::new(address, port)),
            Self::Udp(address, port) => write!(f, "{}{UDP}", SocketAddr::new(address, port)),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        if let Some(address) = text.strip_suffix(UDP) {
            return address.parse().map(|address: SocketAddr| Self::Udp(address.ip(), address.port()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Self::Tcp(address.ip(), address.port())),
            Err(_) => text.parse().map(Self::Vip),
        }
    }
}

pub(super) struct Tables {
    pub(super) vips: BTreeMap<u32, Vip>,
    pub(super) services: BTreeMap<u32, Service>,
    pub(super) scopes: BTreeMap<Scope, u16>,
    pub(super) vip_multiplier: u64,
    pub(super) service_multiplier: u64,
}

/// `tunnels` are addresses of this host at which tunnels end (on an instance).
pub(super) fn tables(
    model: &Model,
    sources: &Sources,
    tunnels: &[IpAddr],
    running: Option<&Plan>,
) -> Result<Tables, Error> {
    let none = BTreeMap::new();
    let services = ports(model).map(ServedPort::scope);
    let wanted =
        model.vip.all().map(Scope::Vip).chain(services).chain(tunnels.iter().copied().map(Scope::Vip));
    let scopes =
        numbers::keep(running.map_or(&none, |plan| &plan.scopes), wanted, "VIPs and services", SCOPES)?;

    let vips: Vec<Vip> = model
        .vip
        .all()
        .map(|address| Vip {
            address: address.into(),
            salt: vip_salt(&model.balancer.seed, address),
            scope: scopes[&Scope::Vip(address)],
            // R14: private VIPs answer the inside. The public VIP's services have lists of their own.
            sources: if model.vip.private.contains(&address) { sources.inside } else { EVERYONE },
            sides: if model.vip.private.contains(&address) {
                SIDE_INSIDE
            } else {
                SIDE_INSIDE | SIDE_OUTSIDE
            },
            // What the public VIP answers is for R20 to say: nothing but its ports. And what carries no port is dropped there (R22).
            flags: if model.vip.private.contains(&address) { VIP_ECHO | VIP_FRAGMENTS } else { 0 },
            leases: 0,
        })
        .chain(tunnels.iter().map(|&address| Vip {
            address: address.into(),
            scope: scopes[&Scope::Vip(address)],
            sides: SIDE_INSIDE,
            flags: VIP_TUNNEL,
            ..Vip::default()
        }))
        .collect();
    let services: Vec<Service> = ports(model)
        .map(|served| Service {
            key: Service::key(scopes[&Scope::Vip(served.vip)], served.protocol as u8, served.port),
            scope: scopes[&served.scope()],
            // A private VIP's sources have been asked already.
            sources: if served.port == MANAGEMENT_PORT && model.vip.public.contains(&served.vip) {
                sources.management
            } else {
                EVERYONE
            },
            backend_port: backend_port(model, served.vip, served.port).unwrap_or_default(),
            flags: 0,
        })
        .collect();

    let (vip_multiplier, vips) = perfect(
        &vips,
        |vip, multiplier| Address::slot(vip.address, multiplier),
        running.map(|plan| plan.config.vip_multiplier),
        "VIPs",
    )?;
    let (service_multiplier, services) = perfect(
        &services,
        |service, multiplier| layout::slot(service.key, multiplier),
        running.map(|plan| plan.config.service_multiplier),
        "services",
    )?;
    Ok(Tables { vips, services, scopes, vip_multiplier, service_multiplier })
}

/// Where a service is on the instances in nat mode. The configuration has no VIP without such a port then.
pub(super) fn backend_port(model: &Model, vip: IpAddr, port: u16) -> Option<u16> {
    (model.balancer.forwarding == Forwarding::Nat).then(|| model.vip.backend_port(vip, port)).flatten()
}

/// A port that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServedPort {
    pub(super) vip: IpAddr,
    /// TCP or UDP.
    pub(super) protocol: IpProto,
    pub(super) port: u16,
}

impl ServedPort {
    pub(super) fn scope(self) -> Scope {
        match self.protocol {
            IpProto::Udp => Scope::Udp(self.vip, self.port),
            _ => Scope::Tcp(self.vip, self.port),
        }
    }
}

/// The ports that are served. The DNS is for clients inside only, whatever the mode (R3).
pub(super) fn ports(model: &Model) -> impl Iterator<Item = ServedPort> + '_ {
    model.vip.all().flat_map(move |vip| {
        let tcp = model.ports(vip).map(|port| (IpProto::Tcp, port));
        let dns = [(IpProto::Tcp, DNS_PORT), (IpProto::Udp, DNS_PORT)];
        let dns = dns.into_iter().filter(move |_| model.answers_dns(vip));
        tcp.chain(dns).map(move |(protocol, port)| ServedPort { vip, protocol, port })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    #[test]
    fn a_scopes_name_says_what_it_is_of() {
        let vip = "10.0.0.5".parse().unwrap();
        let vip6 = "fd00::5".parse().unwrap();
        for (scope, name) in [
            (Scope::Vip(vip), "10.0.0.5"),
            (Scope::Tcp(vip, 53), "10.0.0.5:53"),
            (Scope::Udp(vip, 53), "10.0.0.5:53/udp"),
            (Scope::Udp(vip6, 53), "[fd00::5]:53/udp"),
        ] {
            assert_eq!((String::from(scope).as_str(), Scope::try_from(name.to_owned())), (name, Ok(scope)));
        }
    }

    #[test]
    fn r52_dns_is_a_service_of_the_private_vip_over_udp_and_tcp_where_it_is_wanted() {
        let mut model = model(&["gw-1"]);
        let dns = |model: &Model| {
            let all = ports(model).filter(|served| served.port == DNS_PORT);
            all.map(|served| served.scope().to_string()).collect::<Vec<_>>()
        };
        assert!(dns(&model).is_empty());
        model.dns.serve = true;
        assert_eq!(dns(&model), ["10.0.0.5:53", "10.0.0.5:53/udp"], "and never of the public one (R20)");
    }
}
