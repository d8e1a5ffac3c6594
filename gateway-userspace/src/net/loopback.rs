//! VIPs on an instance: on `lo`, so that the instance takes packets for them, and never answered for by ARP, so that
//! the link goes on sending them to the balancer.
//!
//! IPv4 answers ARP for any address of the host on any interface, hence `arp_ignore` and `arp_announce` on the
//! interface of the DIP. IPv6 answers neighbour solicitations only for addresses of the interface they arrive on
//! (`ndisc_recv_ns`), so a VIP on `lo` needs no more.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::{
    Error, Netlink,
    address::Address,
    changes::{Changes, Role},
    link::Link,
    reply::{self, Replies},
    sysctl,
};

/// Reply to ARP only for addresses of the interface that is asked.
const ARP_IGNORE: &str = "1";
/// 2 is stricter still and 8 answers nothing at all; 3 would answer, since the VIPs have global scope.
const ARP_IGNORE_ENOUGH: &[&str] = &["1", "2", "8"];
/// Ask by ARP only with an address of the interface that asks: never with a VIP.
const ARP_ANNOUNCE: &str = "2";

/// VIPs that this process put on `lo`, and sysctls it changed: [`Held::release`] puts back what was there.
#[derive(Debug)]
pub struct Held {
    changes: Changes,
    mtu: u32,
}

/// Puts each VIP on `lo` as /32 or /128, unless it is on this host already (then it is left alone, now and at
/// release), and sets `arp_ignore=1`, `arp_announce=2` on the interface that has one of `dip`.
///
/// What an instance that was killed left on this host is taken over, without a moment in which a VIP is not there; what of it is
/// not wanted any more goes with [`Held::settle`]. [`Held`] may outlive the runtime that called
/// this; dropping it without [`Held::release`] puts everything back too.
///
/// # Errors
/// No privileges; no interface has the DIP; another proxy is running here. Nothing is left behind on an error.
pub async fn hold(vips: &[IpAddr], dip: &[IpAddr]) -> Result<Held, Error> {
    hold_with(Changes::adopt(Role::Proxy)?, vips, dip).await
}

/// The same in the place of a process that still runs, by its [`Held::lock`].
///
/// # Errors
/// As [`hold`]. What the other process holds stays its own then.
pub async fn hold_after(lock: OwnedFd, vips: &[IpAddr], dip: &[IpAddr]) -> Result<Held, Error> {
    hold_with(Changes::inherit(Role::Proxy, lock)?, vips, dip).await
}

async fn hold_with(mut changes: Changes, vips: &[IpAddr], dip: &[IpAddr]) -> Result<Held, Error> {
    let netlink = Netlink::open()?;
    let links = netlink.links().await?;
    let present = netlink.addresses().await?;
    let lo = netlink.link("lo").await?;
    let facing = links_with(dip, &links, &present);
    if facing.is_empty() {
        let dip = dip.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::NotThisInstance { dip });
    }
    let elsewhere = |vip: &IpAddr| present.iter().any(|a| a.ip == *vip && a.link != lo.index);
    let mtu = facing.iter().map(|link| link.mtu).min().unwrap_or_default();
    // First silence, then the address: no request is ever answered in between. A VIP on another interface is the
    // balancer's on this very host (`gateway run`): that interface has to answer, and with arp_ignore=1 it does.
    if vips.iter().any(|vip| vip.is_ipv4() && !elsewhere(vip)) {
        for link in facing {
            changes.set(&sysctl::ipv4_conf(&link.name, "arp_ignore"), ARP_IGNORE, ARP_IGNORE_ENOUGH)?;
            changes.set(&sysctl::ipv4_conf(&link.name, "arp_announce"), ARP_ANNOUNCE, &[ARP_ANNOUNCE])?;
        }
    }
    for vip in vips.iter().collect::<BTreeSet<_>>() {
        if present.iter().any(|a| a.ip == *vip) && !changes.has_left(&lo, *vip) {
            log::info!("{vip} is on this host already and is left as it is");
        } else {
            changes.add_address(&netlink, &lo, *vip).await?;
        }
    }
    Ok(Held { changes, mtu })
}

fn links_with<'a>(dip: &[IpAddr], links: &'a [Link], present: &[Address]) -> Vec<&'a Link> {
    links.iter().filter(|link| present.iter().any(|a| a.link == link.index && dip.contains(&a.ip))).collect()
}

impl Held {
    /// The largest packet that the instance's interface takes, in bytes; of several the smallest.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Has an instance's replies go through its balancer besides, with `nat`.
    ///
    /// # Errors
    /// There is no way to the balancer; somebody else uses the routing table; no privileges.
    pub async fn send_back(&mut self, replies: &[Replies]) -> Result<(), Error> {
        let netlink = Netlink::open()?;
        for one in replies {
            reply::send_back(&mut self.changes, &netlink, one).await?;
        }
        Ok(())
    }

    /// Puts back what the kernel took away meanwhile: routes go with an interface that is set down.
    ///
    /// # Errors
    /// No privileges.
    pub async fn keep(&self) -> Result<(), Error> {
        self.changes.restore_routes_back(&Netlink::open()?).await
    }

    /// All is held: takes away what a predecessor held and this process does not. To be called once a predecessor that still ran
    /// has left.
    ///
    /// # Errors
    /// What could not be taken away.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let netlink = Netlink::open()?;
        self.changes.settle(&netlink).await
    }

    /// For [`hold_after`] in a successor.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.changes.lock()
    }

    /// All stays: a successor has it, or the next process will.
    pub fn leave(self) {
        self.changes.leave();
    }

    /// A successor died before it had taken over: what it had added goes.
    ///
    /// # Errors
    /// What could not be taken away.
    pub async fn reclaim(&mut self) -> Result<(), Error> {
        let netlink = Netlink::open()?;
        self.changes.reclaim(&netlink).await
    }

    /// Takes away what [`hold`] added.
    ///
    /// # Errors
    /// What could not be taken away; the rest is.
    pub async fn release(self) -> Result<(), Error> {
        let netlink = Netlink::open()?;
        self.changes.undo(&netlink).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    const DIP: &str = "10.0.0.11";
    const VIPS: [&str; 2] = ["10.0.0.5", "fd00:0:0:1::5"];
    /// With a dot, which a sysctl's dotted name could not tell from a level.
    const INTERFACE: &str = "eth0.100";

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn instance(netlink: &Netlink) {
        let (link, _) = netlink.add_pair(INTERFACE, "peer").await;
        netlink.add_address(link.index, INTERFACE, DIP.parse().unwrap()).await.unwrap();
    }

    async fn on_lo(netlink: &Netlink) -> Vec<String> {
        let lo = netlink.link("lo").await.unwrap();
        let all = netlink
            .addresses()
            .await
            .unwrap()
            .into_iter()
            .filter(|a| a.link == lo.index && !a.ip.is_loopback());
        let mut all: Vec<_> = all.map(|a| format!("{}/{}", a.ip, a.prefix_len)).collect();
        all.sort();
        all
    }

    fn arp(key: &str) -> String {
        sysctl::read(&sysctl::ipv4_conf(INTERFACE, key)).unwrap()
    }

    #[test]
    fn vips_are_held_silently_and_released() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            sysctl::write(&sysctl::ipv4_conf(INTERFACE, "arp_announce"), "1").unwrap();
            let held = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap();
            assert_eq!(on_lo(netlink).await, ["10.0.0.5/32", "fd00:0:0:1::5/128"]);
            assert_eq!((arp("arp_ignore"), arp("arp_announce")), ("1".into(), "2".into()));
            held.release().await.unwrap();
            assert!(on_lo(netlink).await.is_empty());
            assert_eq!((arp("arp_ignore"), arp("arp_announce")), ("0".into(), "1".into()));
        });
    }

    #[test]
    fn what_was_there_before_is_kept() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let lo = netlink.link("lo").await.unwrap();
            netlink.add_address(lo.index, "lo", VIPS[0].parse().unwrap()).await.unwrap();
            let held = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap();
            held.release().await.unwrap();
            assert_eq!(on_lo(netlink).await, ["10.0.0.5/32"]);
        });
    }

    #[test]
    fn an_operators_change_in_the_meantime_is_kept() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let held = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap();
            sysctl::write(&sysctl::ipv4_conf(INTERFACE, "arp_ignore"), "8").unwrap();
            held.release().await.unwrap();
            assert_eq!(arp("arp_ignore"), "8");
        });
    }

    #[test]
    fn on_a_host_without_the_dip_nothing_is_changed() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let error = hold(&ips(&VIPS), &ips(&["10.0.0.99"])).await.unwrap_err();
            assert!(error.to_string().contains("10.0.0.99"), "{error}");
            assert!(on_lo(netlink).await.is_empty());
            assert_eq!(arp("arp_ignore"), "0");
        });
    }

    #[test]
    fn r6_an_error_half_way_leaves_nothing() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            // The multicast address is refused by the kernel, after the first VIP was added and the settings were changed.
            let vips = ips(&["10.0.0.5", "ff02::5"]);
            hold(&vips, &ips(&[DIP])).await.unwrap_err();
            assert!(on_lo(netlink).await.is_empty());
            assert_eq!((arp("arp_ignore"), arp("arp_announce")), ("0".into(), "0".into()));
        });
    }

    #[test]
    fn what_a_killed_instance_left_is_taken_over_by_the_next() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let held = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap();
            held.changes.abandon();
            let mut held = hold(&ips(&VIPS[..1]), &ips(&[DIP])).await.unwrap();
            assert_eq!(on_lo(netlink).await, ["10.0.0.5/32", "fd00:0:0:1::5/128"]);
            held.settle().await.unwrap();
            assert_eq!(on_lo(netlink).await, ["10.0.0.5/32"]);
            assert_eq!((arp("arp_ignore"), arp("arp_announce")), ("1".into(), "2".into()));
            held.release().await.unwrap();
            assert!(on_lo(netlink).await.is_empty());
            assert_eq!((arp("arp_ignore"), arp("arp_announce")), ("0".into(), "0".into()));
        });
    }

    #[test]
    fn a_successor_takes_over_from_a_running_instance_or_leaves_it_as_it_was() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let one = "10.0.0.5/32";
            let mut held = hold(&ips(&VIPS[..1]), &ips(&[DIP])).await.unwrap();
            held.settle().await.unwrap();
            let lock = || held.lock().try_clone_to_owned().unwrap();
            let (first, second, third) = (lock(), lock(), lock());
            // One that gives up takes only its own with it.
            drop(hold_after(first, &ips(&VIPS), &ips(&[DIP])).await.unwrap());
            assert_eq!((on_lo(netlink).await, arp("arp_ignore")), (vec![one.to_owned()], "1".into()));
            held.reclaim().await.unwrap();
            assert_eq!((on_lo(netlink).await, arp("arp_ignore")), (vec![one.to_owned()], "1".into()));
            // One that is killed leaves it to the other to clean up.
            hold_after(second, &ips(&VIPS), &ips(&[DIP])).await.unwrap().leave();
            assert_eq!(on_lo(netlink).await.len(), 2);
            held.reclaim().await.unwrap();
            assert_eq!(on_lo(netlink).await, [one]);
            // One that succeeds has it all, and the lock.
            let mut successor = hold_after(third, &ips(&VIPS[1..]), &ips(&[DIP])).await.unwrap();
            held.leave();
            assert_eq!(on_lo(netlink).await.len(), 2);
            successor.settle().await.unwrap();
            assert_eq!(on_lo(netlink).await, ["fd00:0:0:1::5/128"]);
            let error = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap_err();
            assert!(matches!(error, Error::Running { .. }), "{error}");
            successor.release().await.unwrap();
            assert_eq!((on_lo(netlink).await, arp("arp_ignore")), (vec![], "0".into()));
        });
    }

    #[test]
    fn a_second_instance_on_the_host_is_refused() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let held = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap();
            let error = hold(&ips(&VIPS), &ips(&[DIP])).await.unwrap_err();
            assert!(matches!(error, Error::Running { .. }), "{error}");
            assert_eq!(on_lo(netlink).await.len(), 2);
            held.release().await.unwrap();
        });
    }
}
