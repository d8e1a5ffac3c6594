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
            xdp: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                // lo has one that is all zeroes.
                LinkAttribute::Address(bytes) => {
                    link.mac = Mac::try_from(bytes.as_slice()).ok().filter(|mac| *mac != Mac::default());
                }
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
            .handle
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
        let request = self.handle.link().get().match_name(name);
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
}
