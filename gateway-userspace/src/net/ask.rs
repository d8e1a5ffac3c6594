//! Who has an address on a link: asked as any host asks, so that nobody is disturbed, and everybody is heard and not only the first.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    Error, Netlink,
    frames::{arp_claimant, arp_request, nd_claimant, solicitation},
    link::Link,
    packet::{EtherType, PacketSocket},
};
use crate::plan::Mac;

/// Questions for each address, for one may get lost.
const QUESTIONS: u32 = 2;
/// After each; an answer takes less than a millisecond.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who answers for each address on a link, this host left out. `ours` are addresses that the question must not come from.
///
/// # Errors
/// No CAP_NET_RAW; the link is no Ethernet, or down.
pub async fn who_has(
    netlink: &Netlink,
    link: &Link,
    ips: &BTreeSet<IpAddr>,
    ours: &BTreeSet<IpAddr>,
) -> Result<BTreeMap<IpAddr, BTreeSet<Mac>>, Error> {
    let own = link.mac.ok_or_else(|| Error::NoMac { name: link.name.clone() })?;
    let (arp, ipv6) = (PacketSocket::open(link, EtherType::Arp)?, PacketSocket::open(link, EtherType::Ipv6)?);
    let present = netlink.addresses().await?;
    let source = |is_v4: bool| {
        let mut all = present.iter().filter(|one| one.link == link.index && !ours.contains(&one.ip));
        all.find(|one| one.ip.is_ipv4() == is_v4).map(|one| one.ip)
    };
    let (source4, source6) = (source(true), source(false));
    let mut heard: BTreeMap<IpAddr, BTreeSet<Mac>> = BTreeMap::new();
    let mut buffers = [[0; 128]; 2];
    for _ in 0..QUESTIONS {
        for ip in ips {
            match (ip, source4, source6) {
                (IpAddr::V4(ip), Some(IpAddr::V4(from)), _) => arp.send(&arp_request(own, from, *ip)).await?,
                (IpAddr::V6(ip), _, Some(IpAddr::V6(from))) => {
                    ipv6.send(&solicitation(own, from, *ip)).await?;
                }
                // Without an address of that family here, nobody could answer.
                _ => {}
            }
            if ip.is_ipv4() && source4.is_some() || ip.is_ipv6() && source6.is_some() {
                heard.entry(*ip).or_default();
            }
        }
        let end = Instant::now() + PATIENCE;
        let [first, second] = &mut buffers;
        loop {
            let frame = tokio::select! {
                frame = timeout_at(end, arp.receive(first)) => frame,
                frame = timeout_at(end, ipv6.receive(second)) => frame,
            };
            let Ok(frame) = frame else { break };
            let frame = frame?;
            for ip in ips {
                let mac = match ip {
                    IpAddr::V4(v4) => arp_claimant(frame, own, *v4),
                    IpAddr::V6(v6) => nd_claimant(frame, own, *v6),
                };
                heard.entry(*ip).or_default().extend(mac);
            }
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn r62_everybody_who_has_an_address_is_heard() {
        let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
        here.connect("eth0", &there, "peer");
        let rival = there.run(async |netlink| {
            let link = netlink.link("peer").await.unwrap();
            netlink.add_subnet(link.index, "10.0.0.5", 24).await;
            netlink.add_subnet(link.index, "fd00:0:0:1::5", 64).await;
            link.mac.unwrap()
        });
        here.run(async |netlink| {
            let link = netlink.link("eth0").await.unwrap();
            netlink.add_subnet(link.index, "10.0.0.2", 24).await;
            netlink.add_subnet(link.index, "fd00:0:0:1::2", 64).await;
            let ips = ["10.0.0.5", "fd00:0:0:1::5", "10.0.0.6"].map(|ip| ip.parse().unwrap());
            let heard = who_has(netlink, &link, &ips.into(), &BTreeSet::new()).await.unwrap();
            assert_eq!(heard[&ips[0]], [rival].into());
            assert_eq!(heard[&ips[1]], [rival].into());
            assert_eq!(heard[&ips[2]], [].into());
        });
    }
}
