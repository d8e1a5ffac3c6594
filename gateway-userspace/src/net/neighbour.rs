//! The neighbour table: which MAC has an address on the link.
//!
//! Entries are kept true by asking the kernel again and again to use them ([`Netlink::resolve`]), as traffic would.
//! `NTF_MANAGED` (Linux 5.16) would save the asking, but a managed entry outlives a killed process and is probed for
//! ever, and older kernels ignore the flag without a word; an entry that was only used ages like any other.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::{Error, Netlink, address::is_gone, to_io};
use crate::plan::Mac;

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface it is reached through.
    pub link: u32,
    /// Whose MAC it is.
    pub ip: IpAddr,
    /// None until it is resolved, and once it has stopped answering.
    pub mac: Option<Mac>,
    /// Set by the operator (`nud permanent`): never to be asked for.
    pub permanent: bool,
    /// It was asked for, and has not answered.
    pub failed: bool,
}

impl Neighbour {
    /// None for what is no IP neighbour on Ethernet, such as a bridge's forwarding entry.
    pub(super) fn parse(message: &NeighbourMessage) -> Option<Self> {
        let mut ip = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(*v4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(*v6)),
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(bytes.as_slice()).ok(),
                _ => {}
            }
        }
        // A failed entry may still carry the address that failed.
        let valid = matches!(
            message.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
        );
        Some(Self {
            link: message.header.ifindex,
            ip: ip?,
            mac: mac.filter(|_| valid),
            permanent: message.header.state == NeighbourState::Permanent,
            failed: message.header.state == NeighbourState::Failed,
        })
    }
}

impl Netlink {
    /// The table's entries of one interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn neighbours(&self, link: u32) -> Result<Vec<Neighbour>, Error> {
        let messages: Vec<_> = self
            .handle()
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::netlink("list the host's neighbours", to_io(e)))?;
        Ok(messages.iter().filter_map(Neighbour::parse).filter(|n| n.link == link).collect())
    }

    /// Has the kernel ask for the MAC of `ip`, or confirm the one it has, as a packet to it would (`NTF_USE`). Not to
    /// be called for a permanent entry: the kernel would make it an ordinary one.
    ///
    /// # Errors
    /// No CAP_NET_ADMIN; the interface is gone or down.
    pub async fn resolve(&self, link: u32, ip: IpAddr) -> Result<(), Error> {
        self.handle()
            .neighbours()
            .add(link, ip)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await
            .map_err(|e| Error::netlink(format!("ask for the MAC of {ip}"), to_io(e)))
    }

    /// Takes the entry out of the table; it is no error if it is not there.
    ///
    /// # Errors
    /// No CAP_NET_ADMIN.
    pub async fn forget(&self, link: u32, ip: IpAddr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.ifindex = link;
        message.attributes.push(NeighbourAttribute::Destination(ip.into()));
        match self.handle().neighbours().del(message).execute().await.map_err(to_io) {
            Ok(()) => Ok(()),
            Err(e) if is_gone(&e) => Ok(()),
            Err(e) => Err(Error::netlink(format!("forget the MAC of {ip}"), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::net::{
        events::{Event, Events},
        link::Link,
        testing::Namespace,
    };

    /// This host has 10.0.0.1 and the other one 10.0.0.11, whose MAC is given.
    fn two_hosts() -> Option<(Namespace, Namespace, Mac)> {
        let (here, there) = (Namespace::new()?, Namespace::new()?);
        here.connect("eth0", &there, "peer");
        here.run(async |netlink| netlink.add_subnet(link(netlink, "eth0").await.index, "10.0.0.1", 24).await);
        let mac = there.run(async |netlink| {
            let link = link(netlink, "peer").await;
            netlink.add_subnet(link.index, "10.0.0.11", 24).await;
            link.mac.unwrap()
        });
        Some((here, there, mac))
    }

    async fn link(netlink: &Netlink, name: &str) -> Link {
        netlink.link(name).await.unwrap()
    }

    #[test]
    fn a_neighbour_is_resolved_told_of_and_forgotten() {
        let Some((here, _there, mac)) = two_hosts() else { return };
        here.run(async |netlink| {
            let (link, ip) = (link(netlink, "eth0").await.index, "10.0.0.11".parse().unwrap());
            let mut events = Events::subscribe().unwrap();
            netlink.resolve(link, ip).await.unwrap();
            let resolved = Neighbour { link, ip, mac: Some(mac), permanent: false, failed: false };
            let told = async { while events.next().await != Some(Event::Neighbour(resolved)) {} };
            timeout(Duration::from_secs(5), told).await.expect("no event told of the MAC");
            assert!(netlink.neighbours(link).await.unwrap().contains(&resolved));
            netlink.forget(link, ip).await.unwrap();
            netlink.forget(link, ip).await.unwrap();
            assert!(netlink.neighbours(link).await.unwrap().iter().all(|n| n.ip != ip));
        });
    }

    #[test]
    fn what_does_not_answer_has_no_mac() {
        let Some((here, _there, _)) = two_hosts() else { return };
        here.run(async |netlink| {
            let (link, ip) = (link(netlink, "eth0").await.index, "10.0.0.99".parse().unwrap());
            netlink.resolve(link, ip).await.unwrap();
            let table = netlink.neighbours(link).await.unwrap();
            assert_eq!(table.iter().find(|n| n.ip == ip).unwrap().mac, None);
        });
    }
}
