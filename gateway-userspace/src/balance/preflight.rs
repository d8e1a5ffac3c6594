//! What must be so before a balancer starts on an interface.

use super::ways::{self, Found, Hops, Unreachable};
use crate::{
    model::{InstanceName, Mode, Model},
    net::{self, Netlink, link::Link},
    plan::Mac,
};

/// What is not so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{name} is down; set it up first (`ip link set {name} up`)")]
    Down { name: String },
    #[error(
        "{name} already carries {program}; remove it first: stop the program that put it there, or \
         `gateway detach` if it is of another service, or `xdp-loader unload {name} --all`, or `ip link set dev {name} xdp off`"
    )]
    Occupied { name: String, program: String },
    #[error(
        "there is nothing to balance with `mode = \"none\"`: the service listens on the instances' own addresses; `gateway run` or \
         `gateway proxy --instance {instance}` on each of them serves it"
    )]
    NoVips { instance: String },
    #[error(transparent)]
    Unreachable(Unreachable),
    #[error("{0}")]
    NoInstance(String),
    #[error("--local {instance}: none of its addresses is on this host; choose the instance that runs here")]
    NotLocal { instance: InstanceName },
    #[error(transparent)]
    Net(#[from] net::Error),
}

/// R1: there are VIPs.
pub(super) fn has_vips(model: &Model) -> Result<(), Error> {
    let first = || model.instances.first().map_or_else(|| "NAME".to_owned(), |one| one.name.to_string());
    if model.service.mode == Mode::None { Err(Error::NoVips { instance: first() }) } else { Ok(()) }
}

/// An interface of the balancer: it exists, is up, is Ethernet, and carries no XDP program but what is `ours`.
pub(super) async fn interface(
    netlink: &Netlink,
    name: &str,
    ours: impl Fn(u32, u32) -> bool,
) -> Result<(Link, Mac), Error> {
    let link = netlink.link(name).await?;
    let name = || link.name.clone();
    let mac: Mac = link.mac.ok_or_else(|| net::Error::NoMac { name: name() })?;
    if !link.up {
        return Err(Error::Down { name: name() });
    }
    if let Some(id) = link.xdp.iter().find(|id| !ours(link.index, **id)) {
        return Err(Error::Occupied { name: name(), program: program(*id) });
    }
    Ok((link, mac))
}

/// Where packets for a VIP could come in past the program: a host takes them on any interface (RFC 1122, 3.3.4.2, the
/// weak end system model), and Linux does.
pub(crate) fn other_ways_in<'a>(links: &'a [Link], interfaces: &[Link]) -> Vec<&'a str> {
    let ours = |link: &Link| interfaces.iter().any(|one| one.index == link.index);
    let others = links.iter().filter(|other| other.up && !other.port && !ours(other));
    others.map(|other| other.name.as_str()).filter(|name| *name != "lo").collect()
}

/// "XDP program 53 `xdp_dispatcher`"; the name only where we may read it.
pub(crate) fn program(id: u32) -> String {
    let found = aya::programs::loaded_programs().flatten().find(|program| program.id() == id);
    match found.as_ref().and_then(|program| program.name_as_str()).filter(|name| !name.is_empty()) {
        Some(name) => format!("XDP program {id} `{name}`"),
        None => format!("XDP program {id}"),
    }
}

/// The instance that `--local` names.
pub(super) async fn local(netlink: &Netlink, model: &Model, name: &str) -> Result<InstanceName, Error> {
    let Some(instance) = model.instance(name) else {
        return Err(Error::NoInstance(model.no_instance(name)));
    };
    let present = netlink.addresses().await?;
    if present.iter().any(|a| instance.dip.contains(&a.ip)) {
        Ok(instance.name.clone())
    } else {
        Err(Error::NotLocal { instance: instance.name.clone() })
    }
}

/// The ways to all instances, or the first that is not served as it should.
pub(super) async fn hops(
    netlink: &Netlink,
    model: &Model,
    interfaces: &[Link],
    local: Option<&InstanceName>,
) -> Result<Hops, Error> {
    let Found { hops, unreachable } = ways::find(netlink, model, interfaces, local).await?;
    match unreachable.into_iter().next() {
        None => Ok(hops),
        Some(first) => Err(Error::Unreachable(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::testing::Namespace, testing::model};

    #[test]
    fn the_local_instance_is_one_of_the_file_with_an_address_of_this_host() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, "10.0.0.11", 24).await;
            let model = model(&["gw-1", "gw-2"]);
            let links = std::slice::from_ref(&link);
            let error = hops(netlink, &model, links, None).await.unwrap_err();
            assert!(matches!(error, Error::Unreachable(Unreachable::IsLocal { .. })), "{error}");
            let name = local(netlink, &model, "gw-1").await.unwrap();
            assert_eq!(hops(netlink, &model, links, Some(&name)).await.unwrap().len(), 1);
            let error = local(netlink, &model, "gw-2").await.unwrap_err();
            assert!(matches!(error, Error::NotLocal { .. }), "{error}");
            let error = local(netlink, &model, "gw-9").await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "there is no instance gw-9; did you mean gw-1? The file has gw-1, gw-2"
            );
        });
    }

    #[test]
    fn interfaces_that_packets_for_a_vip_could_come_in_by_are_found() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, peer) = netlink.add_pair("eth0", "eth1").await;
            netlink.add_pair("eth2", "eth3").await;
            netlink.set_down("eth3").await;
            let mut links = netlink.links().await.unwrap();
            links.iter_mut().filter(|link| link.name == "eth2").for_each(|link| link.port = true);
            assert_eq!(other_ways_in(&links, std::slice::from_ref(&link)), ["eth1"]);
            assert!(other_ways_in(&links, &[link, peer]).is_empty());
        });
    }

    #[test]
    fn an_interface_that_is_down_or_missing_is_refused_with_the_remedy() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (up, _) = netlink.add_pair("eth0", "peer").await;
            assert_eq!(interface(netlink, "eth0", |_, _| false).await.unwrap().0, up);
            netlink.set_down("eth0").await;
            let error = interface(netlink, "eth0", |_, _| false).await.unwrap_err().to_string();
            assert_eq!(error, "eth0 is down; set it up first (`ip link set eth0 up`)");
            let error = interface(netlink, "eth7", |_, _| false).await.unwrap_err().to_string();
            assert!(error.starts_with("there is no interface eth7; this host has "), "{error}");
            assert!(error.contains("eth0"), "{error}");
            let error = interface(netlink, "lo", |_, _| false).await.unwrap_err().to_string();
            assert!(error.contains("lo"), "{error}");
        });
    }
}
