//! Addresses on this host's interfaces.

use std::{io, net::IpAddr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo},
};

use super::{Error, Netlink, to_io};

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub link: u32,
    /// The host's own address, not the peer's.
    pub ip: IpAddr,
    /// In bits.
    pub prefix_len: u8,
    /// IPv6: not proven unique yet, so not usable (RFC 4862, section 5.4).
    pub tentative: bool,
    /// IPv6: another host answered for it.
    pub duplicate: bool,
}

impl Address {
    pub(super) fn parse(message: &AddressMessage) -> Option<Self> {
        let mut own = None;
        let mut flags = AddressFlags::empty();
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link `Address` is the peer's and `Local` our own; IPv6 may omit `Local`.
                AddressAttribute::Local(ip) => own = Some(*ip),
                AddressAttribute::Address(ip) => own = own.or(Some(*ip)),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        Some(Self {
            link: message.header.index,
            ip: own?,
            prefix_len: message.header.prefix_len,
            tentative: flags.contains(AddressFlags::Tentative),
            duplicate: flags.contains(AddressFlags::Dadfailed),
        })
    }
}

/// The prefix length of a single address: 32 or 128.
pub fn host_prefix_len(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Netlink {
    /// Every address of every interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let messages: Vec<_> = self
            .handle()
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::netlink("list the host's addresses", to_io(e)))?;
        Ok(messages.iter().filter_map(Address::parse).collect())
    }

    /// Adds `ip` alone (/32 or /128); the kernel begins duplicate-address detection for IPv6 by itself.
    ///
    /// # Errors
    /// It is there already, the interface is gone, no CAP_NET_ADMIN.
    pub async fn add_address(&self, link: u32, name: &str, ip: IpAddr) -> Result<(), Error> {
        let mut request = self.handle().address().add(link, ip, host_prefix_len(ip));
        if ip.is_ipv6() {
            let attributes = &mut request.message_mut().attributes;
            // A /128 needs no prefix route beside the local one; without this flag the kernel makes one.
            attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
            // Deprecated from the start (RFC 4862, 5.5.4): it takes connections, and this host's own traffic never
            // leaves with it as its source, to which the answers would go to a VIP.
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = u32::MAX;
            attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        match request.execute().await.map_err(to_io) {
            Ok(()) => Ok(()),
            Err(e) if ip.is_ipv6() && e.raw_os_error() == Some(libc::EACCES) => {
                Err(Error::Ipv6Off { ip, interface: name.into() })
            }
            Err(e) => Err(Error::netlink(format!("add {ip} to {name}"), e)),
        }
    }

    /// Takes away what [`Self::add_address`] added; it is no error if it or its interface is gone.
    ///
    /// # Errors
    /// No CAP_NET_ADMIN.
    pub async fn remove_address(&self, link: u32, name: &str, ip: IpAddr) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.index = link;
        message.header.prefix_len = host_prefix_len(ip);
        message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.attributes.push(AddressAttribute::Local(ip));
        match self.handle().address().del(message).execute().await.map_err(to_io) {
            Ok(()) => Ok(()),
            Err(e) if is_gone(&e) => Ok(()),
            Err(e) => Err(Error::netlink(format!("remove {ip} from {name}"), e)),
        }
    }
}

/// What was to be removed is not there, or its interface is not.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENOENT | libc::ENXIO))
}
