//! Which way a packet leaves this host.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
};

use super::{Error, Netlink, address::host_prefix_len, to_io};

/// The kernel's answer for one destination, as in `ip route get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The destination is an address of this host.
    Local,
    /// On the link of this interface: its MAC can be asked for.
    OnLink(u32),
    /// Through a router.
    Via {
        /// The interface towards the router.
        link: u32,
        /// The router.
        gateway: IpAddr,
    },
    /// There is no route, or one that forbids it.
    None,
}

impl Way {
    fn parse(message: &RouteMessage) -> Self {
        let mut link = None;
        let mut gateway = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => link = Some(*index),
                RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) => {
                    gateway = Some(IpAddr::V4(*ip));
                }
                RouteAttribute::Gateway(RouteAddress::Inet6(ip))
                | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
                    gateway = Some(IpAddr::V6(*ip));
                }
                _ => {}
            }
        }
        match (message.header.kind, link, gateway) {
            (RouteType::Local, ..) => Self::Local,
            (RouteType::Unicast, Some(link), None) => Self::OnLink(link),
            (RouteType::Unicast, Some(link), Some(gateway)) => Self::Via { link, gateway },
            _ => Self::None,
        }
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
        match self.handle.route().get(message).execute().try_next().await.map_err(to_io) {
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
            assert_eq!(way("10.0.0.11").await, Way::OnLink(link.index));
            let gateway = "10.0.0.254".parse().unwrap();
            assert_eq!(way("192.0.2.1").await, Way::Via { link: link.index, gateway });
            assert_eq!(way("2001:db8::1").await, Way::None);
        });
    }
}
