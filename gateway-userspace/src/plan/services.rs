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
use crate::model::{Forwarding, MANAGEMENT_PORT, Model};

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// A VIP: what concerns no service of it. On an instance also its own address, where tunnels end.
    Vip(IpAddr),
    /// A TCP port of a VIP.
    Tcp(IpAddr, u16),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Vip(address) => write!(f, "{address}"),
            Self::Tcp(address, port) => write!(f, "{}", SocketAddr::new(address, port)),
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
    let services = ports(model).map(|(vip, port)| Scope::Tcp(vip, port));
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
        .map(|(vip, port)| Service {
            key: Service::key(scopes[&Scope::Vip(vip)], IpProto::Tcp as u8, port),
            scope: scopes[&Scope::Tcp(vip, port)],
            // A private VIP's sources have been asked already.
            sources: if port == MANAGEMENT_PORT && model.vip.public.contains(&vip) {
                sources.management
            } else {
                EVERYONE
            },
            backend_port: backend_port(model, vip, port).unwrap_or_default(),
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

/// The TCP ports that are served, with their VIPs.
pub(super) fn ports(model: &Model) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
    model.vip.all().flat_map(|vip| model.ports(vip).map(move |port| (vip, port)))
}
