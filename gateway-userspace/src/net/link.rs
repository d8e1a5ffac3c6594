//! Network interfaces.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};

use super::{Error, Netlink, to_io};
use crate::plan::Mac;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// `eth0`
    pub name: String,
    /// None where the link has no Ethernet address (`tun0`).
    pub mac: Option<Mac>,
    /// In bytes, without the Ethernet header.
    pub mtu: u32,
    /// Set up by the operator (`ip link set … up`).
    pub up: bool,
    /// Packets can pass (`LOWER_UP`): it is up and so is the other end of its cable.
    pub carrier: bool,
    /// A port of a bridge or part of a bond: what arrives comes in by that one.
    pub port: bool,
    /// The kernel's ids of the XDP programs on it, in the order driver, generic, hardware.
    pub xdp: Vec<u32>,
}

impl Link {
    pub(super) fn parse(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            port: false,
            xdp: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                // lo has one that is all zeroes.
                LinkAttribute::Address(bytes) => {
                    link.mac = Mac::try_from(bytes.as_slice()).ok().filter(|mac| *mac != Mac::default());
                }
                LinkAttribute::Controller(_) => link.port = true,
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Xdp(parts) => link.xdp = xdp_programs(parts),
                _ => {}
            }
        }
        link
    }
}

fn xdp_programs(parts: &[LinkXdp]) -> Vec<u32> {
    let pick = |part: &LinkXdp| match part {
        LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    };
    parts.iter().filter_map(pick).collect()
}

impl Netlink {
    /// Every interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let messages: Vec<_> = self
            .handle()
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::netlink("list the host's interfaces", to_io(e)))?;
        Ok(messages.iter().map(Link::parse).collect())
    }

    /// The interface of that name.
    ///
    /// # Errors
    /// There is none; the error names those there are.
    pub async fn link(&self, name: &str) -> Result<Link, Error> {
        let request = self.handle().link().get().match_name(name);
        match request.execute().try_next().await.map_err(to_io) {
            Ok(Some(message)) => Ok(Link::parse(&message)),
            Err(e) if e.raw_os_error() != Some(libc::ENODEV) => {
                Err(Error::netlink(format!("look up the interface {name}"), e))
            }
            Ok(None) | Err(_) => {
                let mut present: Vec<_> = self.links().await?.into_iter().map(|link| link.name).collect();
                present.retain(|other| other != "lo");
                let present = if present.is_empty() { "none but lo".into() } else { present.join(", ") };
                Err(Error::NoInterface { name: name.into(), present })
            }
        }
    }

    /// The interface of that index; None if it is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn link_at(&self, index: u32) -> Result<Option<Link>, Error> {
        let request = self.handle().link().get().match_index(index);
        match request.execute().try_next().await.map_err(to_io) {
            Ok(message) => Ok(message.as_ref().map(Link::parse)),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(Error::netlink(format!("look up the interface {index}"), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::net::testing::Namespace;

    #[test]
    fn a_cable_whose_other_end_is_down_has_no_carrier() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, peer) = netlink.add_pair("eth0", "peer").await;
            assert!(link.up && link.carrier);
            netlink.set_down(&peer.name).await;
            let link = netlink.link_at(link.index).await.unwrap().unwrap();
            assert!(link.up && !link.carrier);
            assert_eq!(netlink.link_at(link.index + 100).await.unwrap(), None);
        });
    }
}
