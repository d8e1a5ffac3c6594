//! Which way a packet leaves this host.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia},
};

use super::{Error, Netlink, address::host_prefix_len, to_io};

/// The kernel's answer for one destination, as in `ip route get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The destination is an address of this host.
    Local,
    /// By an interface of this host.
    Out(Route),
    /// There is no route, or one that forbids it.
    None,
}

/// A way out of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub link: u32,
    /// The router; none where the destination is on the interface's link, and its own MAC can be asked for.
    pub gateway: Option<IpAddr>,
    /// The address of this host that its own packets would have.
    pub source: Option<IpAddr>,
    /// The largest packet, where the route says so (`mtu`, or learned); else it is the interface's MTU.
    pub mtu: Option<u32>,
}

impl Way {
    pub(super) fn parse(message: &RouteMessage) -> Self {
        let mut link = None;
        let (mut gateway, mut source, mut mtu) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => link = Some(*index),
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::Via(RouteVia::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
                RouteAttribute::Via(RouteVia::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
                RouteAttribute::PrefSource(address) => source = ip(address),
                RouteAttribute::Metrics(metrics) => {
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        match (message.header.kind, link) {
            (RouteType::Local, _) => Self::Local,
            (RouteType::Unicast, Some(link)) => Self::Out(Route { link, gateway, source, mtu }),
            _ => Self::None,
        }
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

impl Netlink {
    /// How a packet of this host reaches `destination` now.
    ///
    /// # Errors
    /// The kernel refuses to say; that there is no way is [`Way::None`].
    pub async fn way_to(&self, destination: IpAddr) -> Result<Way, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family =
            if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.destination_prefix_length = host_prefix_len(destination);
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        match self.handle().route().get(message).execute().try_next().await.map_err(to_io) {
            Ok(answer) => Ok(answer.as_ref().map_or(Way::None, Way::parse)),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES)
                ) =>
            {
                Ok(Way::None)
            }
            Err(source) => {
                Err(Error::Kernel { action: format!("look up the route to {destination}"), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn routes_are_told_apart() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, "10.0.0.1", 24).await;
            netlink.add_default_route("10.0.0.254".parse().unwrap()).await;
            let way = async |ip: &str| netlink.way_to(ip.parse().unwrap()).await.unwrap();
            assert_eq!(way("10.0.0.1").await, Way::Local);
            let source = Some("10.0.0.1".parse().unwrap());
            let on_link = Route { link: link.index, gateway: None, source, mtu: None };
            assert_eq!(way("10.0.0.11").await, Way::Out(on_link));
            let gateway = Some("10.0.0.254".parse().unwrap());
            assert_eq!(way("192.0.2.1").await, Way::Out(Route { gateway, ..on_link }));
            netlink.add_route_with_mtu("198.51.100.0".parse().unwrap(), link.index, 1400).await;
            assert_eq!(way("198.51.100.1").await, Way::Out(Route { mtu: Some(1400), ..on_link }));
            assert_eq!(way("2001:db8::1").await, Way::None);
        });
    }
}
