//! What must be so before a balancer starts on an interface.

use std::net::IpAddr;

use super::state::OnLink;
use crate::{
    model::{InstanceName, Model},
    net::{self, Netlink, link::Link, route::Way},
    plan::{Interface, Mac, Side},
};

/// What is not so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{name} is down; set it up first (`ip link set {name} up`)")]
    Down { name: String },
    #[error(
        "{name} already carries {program}; remove it first: stop the program that put it there, or \
         `xdp-loader unload {name} --all`, or `ip link set dev {name} xdp off`"
    )]
    Occupied { name: String, program: String },
    #[error(
        "{instance} cannot be reached on the link of {interface}: {ways}. With forwarding = \"l2\" every instance has \
         to be on that link: give {interface} an address of the instance's subnet, move the instance, or name the \
         interface that leads there as balancer.interface"
    )]
    NotOnLink { instance: InstanceName, interface: String, ways: String },
    #[error("there is no instance {name}; the file has {present}")]
    NoInstance { name: String, present: String },
    #[error(
        "{instance} is this very host ({dip}); start `gateway run` instead, or pass `--local {instance}` where its \
         proxy is started apart"
    )]
    IsLocal { instance: InstanceName, dip: IpAddr },
    #[error("--local {instance}: none of its addresses is on this host; choose the instance that runs here")]
    NotLocal { instance: InstanceName },
    #[error(transparent)]
    Net(#[from] net::Error),
}

/// The balancer's interface: it exists, is up, is Ethernet, and carries no XDP program.
pub(super) async fn interface(netlink: &Netlink, name: &str) -> Result<(Link, Interface), Error> {
    let link = netlink.link(name).await?;
    let name = || link.name.clone();
    let mac: Mac = link.mac.ok_or_else(|| net::Error::NoMac { name: name() })?;
    if !link.up {
        return Err(Error::Down { name: name() });
    }
    if let Some(id) = link.xdp.first() {
        return Err(Error::Occupied { name: name(), program: program(*id) });
    }
    let interface = Interface { index: link.index, mac, side: Side::Both };
    Ok((link, interface))
}

/// Where packets for a VIP could come in past the program: a host takes them on any interface (RFC 1122, 3.3.4.2, the
/// weak end system model), and Linux does.
pub(super) fn other_ways_in<'a>(links: &'a [Link], link: &Link) -> Vec<&'a str> {
    let others = links.iter().filter(|other| other.up && !other.port && other.index != link.index);
    others.map(|other| other.name.as_str()).filter(|name| *name != "lo").collect()
}

/// "XDP program 53 `xdp_dispatcher`"; the name only where we may read it.
fn program(id: u32) -> String {
    let found = aya::programs::loaded_programs().flatten().find(|program| program.id() == id);
    match found.as_ref().and_then(|program| program.name_as_str()) {
        Some(name) => format!("XDP program {id} `{name}`"),
        None => format!("XDP program {id}"),
    }
}

/// The instance that `--local` names.
pub(super) async fn local(netlink: &Netlink, model: &Model, name: &str) -> Result<InstanceName, Error> {
    let Some(instance) = model.instance(name) else {
        let present = model.instance_names().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::NoInstance { name: name.into(), present });
    };
    let present = netlink.addresses().await?;
    if present.iter().any(|a| instance.dip.contains(&a.ip)) {
        Ok(instance.name.clone())
    } else {
        Err(Error::NotLocal { instance: instance.name.clone() })
    }
}

/// For each instance but the local one its addresses on the interface's link: at least one, or l2 cannot reach it.
pub(super) async fn on_link(
    netlink: &Netlink,
    model: &Model,
    link: &Link,
    local: Option<&InstanceName>,
) -> Result<OnLink, Error> {
    let links = netlink.links().await?;
    let mut on_link = OnLink::new();
    for instance in model.instances.iter().filter(|i| Some(&i.name) != local) {
        let mut reached = Vec::new();
        let mut ways = Vec::new();
        for dip in &instance.dip {
            match netlink.way_to(*dip).await? {
                Way::OnLink(index) if index == link.index => reached.push(*dip),
                Way::Local => return Err(Error::IsLocal { instance: instance.name.clone(), dip: *dip }),
                other => ways.push(describe(*dip, other, &links)),
            }
        }
        if reached.is_empty() {
            let (instance, interface) = (instance.name.clone(), link.name.clone());
            return Err(Error::NotOnLink { instance, interface, ways: ways.join("; ") });
        }
        on_link.insert(instance.name.clone(), reached);
    }
    Ok(on_link)
}

fn describe(dip: IpAddr, way: Way, links: &[Link]) -> String {
    let name = |index: u32| {
        links
            .iter()
            .find(|link| link.index == index)
            .map_or_else(|| index.to_string(), |link| link.name.clone())
    };
    match way {
        Way::OnLink(link) => format!("{dip} is on {}", name(link)),
        Way::Via { link, gateway } => {
            format!("packets to {dip} leave through the router {gateway} on {}", name(link))
        }
        Way::None => format!("there is no route to {dip}"),
        Way::Local => format!("{dip} is this host's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::testing::Namespace, testing::model};

    #[test]
    fn instances_behind_a_router_are_refused_with_the_way() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, "10.0.0.1", 24).await;
            netlink.add_default_route("10.0.0.254".parse().unwrap()).await;
            let mut model = model(&["gw-1"]);
            let reached = on_link(netlink, &model, &link, None).await.unwrap();
            assert_eq!(reached[&model.instances[0].name], model.instances[0].dip);
            model.instances[0].dip = vec!["10.8.0.11".parse().unwrap()];
            let error = on_link(netlink, &model, &link, None).await.unwrap_err().to_string();
            let expected = "gw-1 cannot be reached on the link of eth0: packets to 10.8.0.11 leave through the router \
                            10.0.0.254 on eth0.";
            assert!(error.starts_with(expected), "{error}");
        });
    }

    #[test]
    fn an_instance_on_this_host_has_to_be_named() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, "10.0.0.11", 24).await;
            let model = model(&["gw-1", "gw-2"]);
            let error = on_link(netlink, &model, &link, None).await.unwrap_err();
            assert!(matches!(error, Error::IsLocal { .. }), "{error}");
            let name = local(netlink, &model, "gw-1").await.unwrap();
            let reached = on_link(netlink, &model, &link, Some(&name)).await.unwrap();
            assert_eq!(reached.into_keys().collect::<Vec<_>>(), [model.instances[1].name.clone()]);
            let error = local(netlink, &model, "gw-2").await.unwrap_err();
            assert!(matches!(error, Error::NotLocal { .. }), "{error}");
            let error = local(netlink, &model, "gw-9").await.unwrap_err();
            assert_eq!(error.to_string(), "there is no instance gw-9; the file has gw-1, gw-2");
        });
    }

    #[test]
    fn interfaces_that_packets_for_a_vip_could_come_in_by_are_found() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "eth1").await;
            netlink.add_pair("eth2", "eth3").await;
            netlink.set_down("eth3").await;
            let mut links = netlink.links().await.unwrap();
            links.iter_mut().filter(|link| link.name == "eth2").for_each(|link| link.port = true);
            assert_eq!(other_ways_in(&links, &link), ["eth1"]);
        });
    }

    #[test]
    fn an_interface_that_is_down_or_missing_is_refused_with_the_remedy() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (up, _) = netlink.add_pair("eth0", "peer").await;
            assert_eq!(interface(netlink, "eth0").await.unwrap().0, up);
            netlink.set_down("eth0").await;
            let error = interface(netlink, "eth0").await.unwrap_err().to_string();
            assert_eq!(error, "eth0 is down; set it up first (`ip link set eth0 up`)");
            let error = interface(netlink, "eth7").await.unwrap_err().to_string();
            assert!(error.starts_with("there is no interface eth7; this host has "), "{error}");
            assert!(error.contains("eth0"), "{error}");
            let error = interface(netlink, "lo").await.unwrap_err().to_string();
            assert!(error.contains("lo"), "{error}");
        });
    }
}
