//! What the kernel says of this host's network.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context, bail};
use ipnet::IpNet;

use crate::net::{
    self, Netlink,
    link::Link,
    route::{Route, Way},
};

/// Nobody has them (RFC 5737, RFC 3849): the way there is the default route.
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What a first file is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// `eth0`
    pub(super) interface: String,
    /// `virtio_net`; None for interfaces without hardware.
    pub(super) driver: Option<String>,
    /// In bytes.
    pub(super) mtu: u32,
    /// This host's addresses on it, at most one of a family, IPv4 first; at least one.
    pub(super) own: Vec<Own>,
    /// Addresses on this link that somebody has, as far as this host knows.
    pub(super) taken: Vec<IpAddr>,
}

/// An address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) ip: IpAddr,
    pub(super) subnet: IpNet,
}

/// Asks for the interface of that name, or the one of the default route.
pub(super) async fn ask(netlink: &Netlink, name: Option<&str>) -> anyhow::Result<Found> {
    let mut routes = Vec::new();
    for destination in ELSEWHERE {
        if let Way::Out(route) = netlink.way_to(destination).await? {
            routes.push(route);
        }
    }
    let link = match name {
        Some(name) => netlink.link(name).await?,
        None => of_default_route(netlink, &routes).await?,
    };
    let addresses = netlink.addresses().await?;
    let here: Vec<_> = addresses.iter().filter(|address| address.link == link.index).collect();
    let mut own: Vec<Own> = Vec::new();
    for address in &here {
        let is_wanted = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        };
        // A single address is no subnet: a VIP, or a cloud's.
        let subnet = IpNet::new(address.ip, address.prefix_len).map(|net| net.trunc());
        let Ok(subnet) = subnet else { continue };
        let is_known = own.iter().any(|one| one.ip.is_ipv4() == address.ip.is_ipv4());
        if is_wanted(address.ip) && !is_known && address.prefix_len < subnet.max_prefix_len() {
            own.push(Own { ip: address.ip, subnet });
        }
    }
    own.sort_by_key(|one| one.ip.is_ipv6());
    if own.is_empty() {
        bail!(
            "{} has no address with a subnet around it; give it one (`ip address add 10.0.0.2/24 dev {0}`), or choose another by --interface",
            link.name
        );
    }
    let neighbours = netlink.neighbours(link.index).await?;
    let taken = here.iter().map(|address| address.ip);
    let taken = taken
        .chain(neighbours.iter().map(|one| one.ip))
        .chain(routes.iter().filter_map(|route| route.gateway));
    Ok(Found { driver: driver(&link), mtu: link.mtu, own, taken: taken.collect(), interface: link.name })
}

async fn of_default_route(netlink: &Netlink, routes: &[Route]) -> anyhow::Result<Link> {
    let Some(route) = routes.first() else {
        let links = netlink.links().await?;
        let names: Vec<_> =
            links.iter().map(|link| link.name.as_str()).filter(|name| *name != "lo").collect();
        bail!(
            "this host has no default route that would tell its interface; name it by --interface: it has {}",
            names.join(", ")
        );
    };
    netlink.link_at(route.link).await?.context("the interface of the default route is gone")
}

/// From sysfs, where that shows this network namespace and not another one that has an interface of the same name.
fn driver(link: &Link) -> Option<String> {
    let folder = Path::new("/sys/class/net").join(&link.name);
    let index = fs::read_to_string(folder.join("ifindex")).ok()?;
    let mac = fs::read_to_string(folder.join("address")).ok()?;
    let is_same =
        index.trim() == link.index.to_string() && Some(mac.trim()) == link.mac.map(net::mac_text).as_deref();
    let driver = is_same.then(|| fs::read_link(folder.join("device/driver")).ok())??;
    Some(driver.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn the_interface_is_the_one_of_the_default_route_or_the_one_that_is_named() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, peer) = netlink.add_pair("eth0", "eth1").await;
            netlink.add_subnet(link.index, "10.0.0.2", 24).await;
            netlink.add_subnet(link.index, "10.0.0.5", 32).await;
            netlink.add_subnet(link.index, "fd00::2", 64).await;
            let error = ask(netlink, None).await.unwrap_err().to_string();
            assert!(
                error.contains("--interface") && error.contains("eth0") && !error.contains("lo,"),
                "{error}"
            );
            netlink.add_default_route("10.0.0.1".parse().unwrap()).await;
            let found = ask(netlink, None).await.unwrap();
            assert_eq!((found.interface.as_str(), found.mtu), ("eth0", 1500));
            let own: Vec<_> =
                found.own.iter().map(|one| (one.ip.to_string(), one.subnet.to_string())).collect();
            assert_eq!(
                own,
                [("10.0.0.2".into(), "10.0.0.0/24".into()), ("fd00::2".into(), "fd00::/64".into())]
            );
            for taken in ["10.0.0.1", "10.0.0.2", "10.0.0.5"] {
                assert!(found.taken.contains(&taken.parse().unwrap()), "{taken}: {found:?}");
            }
            let error = ask(netlink, Some(&peer.name)).await.unwrap_err().to_string();
            assert!(error.starts_with("eth1 has no address"), "{error}");
            assert!(ask(netlink, Some("eth7")).await.unwrap_err().to_string().contains("eth7"));
        });
    }
}
