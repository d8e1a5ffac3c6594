//! A client, a balancer and a server on one link.
//!
//! ```text
//!   client 10.0.0.99     balancer 10.0.0.2, VIP 10.0.0.5     server 10.0.0.11
//!   ═══════╪═════════════════════════╪═══════════════════════════════╪════════ switch ══
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use lab::{address::Mac, host::Host};

use crate::{
    builder::{CLIENT, OURS},
    stage::{mac_text, quiet_host},
    targets::mac,
};

/// The VIP of the documentation's example.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The first instance.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
pub(crate) const PORT: u16 = 443;

#[derive(Debug)]
pub(crate) struct Lan {
    pub(crate) switch: Host,
    pub(crate) client: Host,
    pub(crate) balancer: Host,
    pub(crate) server: Host,
}

impl Lan {
    pub(crate) fn raise() -> anyhow::Result<Self> {
        let lan = Self {
            switch: quiet_host("switch")?,
            client: quiet_host("client")?,
            balancer: quiet_host("balancer")?,
            server: quiet_host("server")?,
        };
        lan.switch.ip(["link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up"])?;
        lan.plug(&lan.client, CLIENT, Ipv4Addr::new(10, 0, 0, 99))?;
        lan.plug(&lan.balancer, OURS, BALANCER)?;
        lan.plug(&lan.server, mac(1), SERVER)?;
        lan.balancer.ip([format!("address add {VIP}/32 dev eth0")])?;
        Ok(lan)
    }

    fn plug(&self, host: &Host, mac: Mac, address: Ipv4Addr) -> anyhow::Result<()> {
        let (name, mac) = (host.name(), mac_text(mac));
        self.switch.ip([
            format!("link add {name} type veth peer name eth0 address {mac} netns {}", host.path()),
            format!("link set {name} master br0 up"),
        ])?;
        host.ip([format!("address add {address}/24 dev eth0"), "link set eth0 up".to_owned()])?;
        // All alike, though XDP alone needs it: checksums are filled in and segments cut where a card would do it.
        host.must("ethtool -K eth0 tx off").map(drop)
    }
}

pub(crate) fn at(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(address.into(), PORT)
}
