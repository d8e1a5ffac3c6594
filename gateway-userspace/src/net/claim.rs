//! Claiming VIPs on the balancer's interface: nobody else has them, then they are ours, then everybody knows (R10).
//!
//! IPv4: probes as in RFC 5227, with shorter times (see `PROBE_INTERVAL`); the kernel does none of it. IPv6: the
//! kernel's own duplicate-address detection (RFC 4862), whose verdict comes by netlink.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    Error, Netlink,
    changes::Changes,
    events::{Event, Events},
    frames::{advertisement, arp_announcement, arp_claimant, arp_probe, nd_claimant},
    link::Link,
    mac_text,
    packet::{EtherType, PacketSocket},
};
use crate::plan::Mac;

/// RFC 5227's PROBE_NUM.
const PROBES: usize = 3;
/// After each probe. The RFC takes 1 to 2 s, and up to 1 s before the first, for slow links and for many hosts that
/// power up at once; on the links of a balancer an answer takes less than a millisecond, and a restart should too.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// RFC 5227's ANNOUNCE_NUM: one may get lost.
const ANNOUNCEMENTS: usize = 2;
/// Between two announcements. The RFC takes 2 s, again for slow links.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);
/// The kernel waits for up to 1 s before its one probe and 1 s after it, by default.
const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

/// Claims each VIP on `link`, unless the interface has it already: then it is left alone, now and at the end. VIPs
/// need not be from a subnet of the interface.
///
/// # Errors
/// Another host has a VIP; no CAP_NET_ADMIN or CAP_NET_RAW. None of `vips` stays claimed on an error.
pub async fn claim(
    changes: &mut Changes,
    netlink: &Netlink,
    link: &Link,
    vips: &[IpAddr],
) -> Result<(), Error> {
    let present = netlink.addresses().await?;
    let mut fresh = BTreeSet::new();
    for vip in vips {
        let ours = changes.addresses(link).any(|ip| ip == *vip);
        match present.iter().find(|a| a.link == link.index && a.ip == *vip) {
            None => {
                // One that was claimed before has been lost: an interface that goes down loses its IPv6 addresses.
                changes.remove_address(netlink, link, *vip).await?;
                fresh.insert(*vip);
            }
            // Another host had it when the interface came up again; the kernel does not look a second time.
            Some(address) if address.duplicate && (ours || changes.has_left(link, *vip)) => {
                changes.remove_address(netlink, link, *vip).await?;
                fresh.insert(*vip);
            }
            Some(address) if address.duplicate => return Err(in_use(link, *vip, None)),
            Some(_) if ours => {}
            // Of the last process; everybody knows it already.
            Some(_) if changes.has_left(link, *vip) => changes.add_address(netlink, link, *vip).await?,
            Some(_) => log::info!("{vip} is on {} already and is left as it is", link.name),
        }
    }
    let outcome = claim_fresh(changes, netlink, link, &fresh).await;
    if outcome.is_err() {
        for vip in fresh {
            if let Err(error) = changes.remove_address(netlink, link, vip).await {
                log::error!("{error}");
            }
        }
    }
    outcome
}

async fn claim_fresh(
    changes: &mut Changes,
    netlink: &Netlink,
    link: &Link,
    vips: &BTreeSet<IpAddr>,
) -> Result<(), Error> {
    if vips.is_empty() {
        return Ok(());
    }
    let (v4, v6) = by_family(vips);
    let speaker = Speaker::on(link)?;
    let mut events = Events::subscribe()?;
    for vip in &v6 {
        changes.add_address(netlink, link, IpAddr::V6(*vip)).await?;
    }
    tokio::try_join!(speaker.probe(&v4), speaker.kernel_verdict(netlink, &mut events, v6.clone()))?;
    for vip in &v4 {
        changes.add_address(netlink, link, IpAddr::V4(*vip)).await?;
    }
    speaker.announce(&v4, &v6).await
}

/// Tells everybody on the link again where the VIPs are, after the interface was down or got another MAC.
///
/// # Errors
/// No CAP_NET_RAW; the interface is down.
pub async fn announce(link: &Link, vips: &BTreeSet<IpAddr>) -> Result<(), Error> {
    let (v4, v6) = by_family(vips);
    Speaker::on(link)?.announce(&v4, &v6).await
}

fn by_family(vips: &BTreeSet<IpAddr>) -> (BTreeSet<Ipv4Addr>, BTreeSet<Ipv6Addr>) {
    (vips.iter().filter_map(as_v4).collect(), vips.iter().filter_map(as_v6).collect())
}

fn as_v4(ip: &IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    }
}

fn as_v6(ip: &IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    }
}

fn in_use(link: &Link, ip: IpAddr, rival: Option<Mac>) -> Error {
    let by = rival.map_or_else(|| "another host".into(), mac_text);
    Error::InUse { ip, interface: link.name.clone(), by }
}

/// Speaks ARP and neighbour discovery on one interface.
struct Speaker<'a> {
    own: Mac,
    link: &'a Link,
    arp: PacketSocket,
    ipv6: PacketSocket,
}

impl<'a> Speaker<'a> {
    fn on(link: &'a Link) -> Result<Self, Error> {
        let own = link.mac.ok_or_else(|| Error::NoMac { name: link.name.clone() })?;
        let (arp, ipv6) =
            (PacketSocket::open(link, EtherType::Arp)?, PacketSocket::open(link, EtherType::Ipv6)?);
        Ok(Self { own, link, arp, ipv6 })
    }

    /// Fails as soon as another host says that it has one of `vips`.
    async fn probe(&self, vips: &BTreeSet<Ipv4Addr>) -> Result<(), Error> {
        if vips.is_empty() {
            return Ok(());
        }
        for _ in 0..PROBES {
            for vip in vips {
                self.arp.send(&arp_probe(self.own, *vip)).await?;
            }
            if let Ok(heard) = timeout(PROBE_INTERVAL, self.hear_arp(vips)).await {
                let (vip, rival) = heard?;
                return Err(in_use(self.link, IpAddr::V4(vip), Some(rival)));
            }
        }
        Ok(())
    }

    /// The first claim by another host.
    async fn hear_arp(&self, vips: &BTreeSet<Ipv4Addr>) -> Result<(Ipv4Addr, Mac), Error> {
        let mut buffer = [0; 128];
        loop {
            let frame = self.arp.receive(&mut buffer).await?;
            for vip in vips {
                if let Some(rival) = arp_claimant(frame, self.own, *vip) {
                    return Ok((*vip, rival));
                }
            }
        }
    }

    /// Waits until the kernel has found every one of `vips` unique.
    async fn kernel_verdict(
        &self,
        netlink: &Netlink,
        events: &mut Events,
        mut vips: BTreeSet<Ipv6Addr>,
    ) -> Result<(), Error> {
        let waiting = self.wait_for_kernel(netlink, events, &mut vips);
        match timeout(KERNEL_PATIENCE, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => vips.first().map_or(Ok(()), |vip| {
                let (ip, interface) = (IpAddr::V6(*vip), self.link.name.clone());
                Err(Error::Undecided { ip, interface, waited: KERNEL_PATIENCE })
            }),
        }
    }

    async fn wait_for_kernel(
        &self,
        netlink: &Netlink,
        events: &mut Events,
        pending: &mut BTreeSet<Ipv6Addr>,
    ) -> Result<(), Error> {
        // The kernel does not say who has the address; the frame that told it does.
        let mut rivals = BTreeMap::new();
        while !pending.is_empty() {
            let changed = tokio::select! {
                // Frames first: the kernel's verdict follows from them.
                biased;
                heard = self.hear_nd(pending) => {
                    let (vip, rival) = heard?;
                    rivals.insert(vip, rival);
                    continue;
                }
                event = events.next() => match event.ok_or(Error::EventsEnded)? {
                    Event::Address(address) => vec![address],
                    Event::Lost => netlink.addresses().await?,
                    _ => continue,
                },
            };
            for address in changed.iter().filter(|a| a.link == self.link.index) {
                let Some(vip) = as_v6(&address.ip).filter(|vip| pending.contains(vip)) else { continue };
                if address.duplicate {
                    return Err(in_use(self.link, address.ip, rivals.get(&vip).copied()));
                }
                if !address.tentative {
                    pending.remove(&vip);
                }
            }
        }
        Ok(())
    }

    async fn hear_nd(&self, vips: &BTreeSet<Ipv6Addr>) -> Result<(Ipv6Addr, Mac), Error> {
        let mut buffer = [0; 128];
        loop {
            let frame = self.ipv6.receive(&mut buffer).await?;
            for vip in vips {
                if let Some(rival) = nd_claimant(frame, self.own, *vip) {
                    return Ok((*vip, rival));
                }
            }
        }
    }

    async fn announce(&self, v4: &BTreeSet<Ipv4Addr>, v6: &BTreeSet<Ipv6Addr>) -> Result<(), Error> {
        for round in 0..ANNOUNCEMENTS {
            if round > 0 {
                sleep(ANNOUNCE_INTERVAL).await;
            }
            for vip in v4 {
                self.arp.send(&arp_announcement(self.own, *vip)).await?;
            }
            for vip in v6 {
                self.ipv6.send(&advertisement(self.own, *vip)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{changes::Role, testing::Namespace};

    const V4: &str = "10.0.0.5";
    const V6: &str = "fd00:0:0:1::5";
    /// In no subnet of the interface.
    const PUBLIC: &str = "203.0.113.5";

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn on(netlink: &Netlink, link: &Link) -> BTreeSet<IpAddr> {
        let link_local = |ip: &IpAddr| as_v6(ip).is_some_and(|v6| v6.is_unicast_link_local());
        let all = netlink.addresses().await.unwrap().into_iter().filter(|a| a.link == link.index);
        all.map(|a| a.ip).filter(|ip| !link_local(ip)).collect()
    }

    /// The next frame that passes, within a second.
    async fn frame(socket: &PacketSocket, wanted: &[u8]) {
        let mut buffer = [0; 128];
        let seen = async { while socket.receive(&mut buffer).await.unwrap() != wanted {} };
        timeout(Duration::from_secs(1), seen).await.expect("the frame was not seen");
    }

    #[test]
    fn r10_free_vips_are_claimed_announced_twice_and_released() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, peer) = netlink.add_pair("eth0", "peer").await;
            let arp = PacketSocket::open(&peer, EtherType::Arp).unwrap();
            let nd = PacketSocket::open(&peer, EtherType::Ipv6).unwrap();
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            claim(&mut changes, netlink, &link, &ips(&[V4, V6, PUBLIC])).await.unwrap();
            let own = link.mac.unwrap();
            for _ in 0..ANNOUNCEMENTS {
                frame(&arp, &arp_announcement(own, V4.parse().unwrap())).await;
                frame(&arp, &arp_announcement(own, PUBLIC.parse().unwrap())).await;
                frame(&nd, &advertisement(own, V6.parse().unwrap())).await;
            }
            assert_eq!(on(netlink, &link).await, BTreeSet::from_iter(ips(&[V4, V6, PUBLIC])));
            changes.undo(netlink).await.unwrap();
            assert!(on(netlink, &link).await.is_empty());
        });
    }

    /// Claims both families on a link where another host has `taken`; gives the refusal.
    fn refusal(taken: &str) -> Option<(Error, String)> {
        let (here, there) = (Namespace::new()?, Namespace::new()?);
        here.connect("eth0", &there, "peer");
        let rival = there.run(async |netlink| {
            let link = netlink.link("peer").await.unwrap();
            netlink.add_subnet(link.index, taken, 32).await;
            mac_text(link.mac.unwrap())
        });
        let error = here.run(async |netlink| {
            let link = netlink.link("eth0").await.unwrap();
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            let error = claim(&mut changes, netlink, &link, &ips(&[V4, V6, PUBLIC])).await.unwrap_err();
            assert!(on(netlink, &link).await.is_empty());
            error
        });
        Some((error, rival))
    }

    #[test]
    fn r10_an_ipv4_vip_that_another_host_has_is_refused() {
        let Some((error, rival)) = refusal(V4) else { return };
        let expected =
            format!("{V4} is already used on eth0 by {rival}; stop that host or choose another VIP");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn r10_an_ipv6_vip_that_another_host_has_is_refused() {
        let Some((error, rival)) = refusal(V6) else { return };
        let expected =
            format!("{V6} is already used on eth0 by {rival}; stop that host or choose another VIP");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_address_that_was_there_is_kept() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            netlink.add_subnet(link.index, V4, 24).await;
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            claim(&mut changes, netlink, &link, &ips(&[V4, PUBLIC])).await.unwrap();
            changes.undo(netlink).await.unwrap();
            assert_eq!(on(netlink, &link).await, BTreeSet::from_iter(ips(&[V4])));
        });
    }

    #[test]
    fn one_vip_is_released_before_the_others() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            claim(&mut changes, netlink, &link, &ips(&[V4, PUBLIC])).await.unwrap();
            changes.remove_address(netlink, &link, V4.parse().unwrap()).await.unwrap();
            assert_eq!(on(netlink, &link).await, BTreeSet::from_iter(ips(&[PUBLIC])));
            assert_eq!(changes.addresses(&link).collect::<Vec<_>>(), ips(&[PUBLIC]));
        });
    }
}
