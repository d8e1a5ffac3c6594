//! An instance and a host of the internet, on one link.
//!
//! ```text
//!   instance: DIP 10.0.0.11 on lo, 203.0.113.5 on eth0  ══════  eth0, outside: 198.51.100.7
//! ```

use std::net::Ipv4Addr;

use lab::host::Host;

pub(crate) const DIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const INSTANCE_MAC: &str = "02:00:00:00:00:01";
const OUTSIDE_MAC: &str = "02:00:00:00:00:02";

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) instance: Host,
    pub(crate) outside: Host,
}

impl Pair {
    /// All alike, whatever is measured: the interface's one address is the VIP, which is what `masquerade` takes, and neighbours are
    /// known, so that a far end that only answers datagrams will do.
    pub(crate) fn raise() -> anyhow::Result<Self> {
        let pair = Self { instance: quiet("instance")?, outside: quiet("outside")? };
        pair.outside.ip([
            format!(
                "link add eth0 address {OUTSIDE_MAC} type veth peer name eth0 address {INSTANCE_MAC} netns {}",
                pair.instance.path()
            ),
            format!("address add {OUTSIDE}/32 dev eth0"),
            "link set eth0 up".to_owned(),
        ])?;
        pair.instance.ip([
            format!("address add {DIP}/32 dev lo"),
            format!("address add {VIP}/32 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("neighbour add {OUTSIDE} lladdr {OUTSIDE_MAC} dev eth0 nud permanent"),
            format!("route add {OUTSIDE} dev eth0 src {DIP}"),
        ])?;
        pair.outside.ip([DIP, VIP].into_iter().flat_map(|address| {
            [
                format!("neighbour add {address} lladdr {INSTANCE_MAC} dev eth0 nud permanent"),
                format!("route add {address} dev eth0"),
            ]
        }))?;
        Ok(pair)
    }
}

/// A host without IPv6, which would send frames of its own accord.
fn quiet(name: &str) -> anyhow::Result<Host> {
    let host = Host::new(name)?;
    for family in ["all", "default"] {
        host.sysctl(&format!("net/ipv6/conf/{family}/disable_ipv6"), "1")?;
    }
    Ok(host)
}
