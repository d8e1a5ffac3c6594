//! Keeps the VIPs on the interface once they are claimed.

use std::{collections::BTreeSet, net::IpAddr};

use super::status;
use crate::net::{
    self, Netlink,
    changes::Changes,
    claim::{announce, claim},
    link::Link,
};

/// Whether all VIPs are there.
#[derive(Debug, Default)]
pub(super) struct Vips {
    /// Why some are not; each reason is logged once.
    trouble: Option<String>,
    /// Which.
    missing: BTreeSet<IpAddr>,
}

impl Vips {
    /// Why a VIP is not on the interface.
    pub(super) fn trouble_of(&self, vip: IpAddr) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.missing.contains(&vip))
    }

    /// Claims those of `wanted` that are not on the interface any more: with its IPv6 addresses when it went down, or
    /// taken away by somebody. With `announce_all` everybody on the link is told where the others are, who do not wait
    /// for that. What fails is to be tried again.
    pub(super) async fn keep(
        &mut self,
        changes: &mut Changes,
        netlink: &Netlink,
        link: &Link,
        wanted: &BTreeSet<IpAddr>,
        announce_all: bool,
    ) {
        let outcome = self.try_to_keep(changes, netlink, link, wanted, announce_all).await;
        let trouble = outcome.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            log::error!("VIPs are not claimed or announced, which is tried again soon: {error}");
        }
        self.trouble = trouble;
    }

    async fn try_to_keep(
        &mut self,
        changes: &mut Changes,
        netlink: &Netlink,
        link: &Link,
        wanted: &BTreeSet<IpAddr>,
        announce_all: bool,
    ) -> Result<(), net::Error> {
        let present = present(netlink, link, wanted).await?;
        self.missing = wanted.difference(&present).copied().collect();
        if announce_all {
            announce(link, &present).await?;
        }
        let missing: Vec<_> = self.missing.iter().copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        if self.trouble.is_none() {
            log::warn!("{} has lost {}; claiming again", link.name, status::list(&missing));
        }
        // After a failure one by one: a VIP that another host has now must not keep the others away.
        let at_once = if self.trouble.is_none() { missing.len() } else { 1 };
        let mut outcome = Ok(());
        for some in missing.chunks(at_once) {
            match claim(changes, netlink, link, some).await {
                Ok(()) => {
                    log::info!("{} has {} again", link.name, status::list(some));
                    self.missing.retain(|vip| !some.contains(vip));
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }
}

/// Those of `wanted` that are on the interface and that no other host has.
async fn present(
    netlink: &Netlink,
    link: &Link,
    wanted: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<IpAddr>, net::Error> {
    let all = netlink.addresses().await?;
    let here = all.iter().filter(|address| address.link == link.index && !address.duplicate);
    Ok(here.map(|address| address.ip).filter(|ip| wanted.contains(ip)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{changes::Role, testing::Namespace};

    #[test]
    fn r10_a_vip_that_was_taken_away_is_claimed_again_and_the_others_are_left_alone() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            let wanted = ["10.0.0.5", "10.0.0.6"].map(|text| text.parse().unwrap());
            claim(&mut changes, netlink, &link, &wanted).await.unwrap();
            netlink.remove_address(link.index, &link.name, wanted[0]).await.unwrap();
            let wanted = BTreeSet::from(wanted);
            let mut vips = Vips::default();
            vips.keep(&mut changes, netlink, &link, &wanted, false).await;
            assert_eq!(present(netlink, &link, &wanted).await.unwrap(), wanted);
            assert_eq!(changes.addresses(&link).collect::<BTreeSet<_>>(), wanted);
            assert_eq!(vips.trouble, None);
            changes.undo(netlink).await.unwrap();
        });
    }

    #[test]
    fn r10_a_vip_that_another_host_has_taken_does_not_keep_the_others_away() {
        let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
        here.connect("eth0", &there, "peer");
        there.run(async |netlink| {
            let link = netlink.link("peer").await.unwrap();
            netlink.add_subnet(link.index, "10.0.0.6", 32).await;
        });
        here.run(async |netlink| {
            let link = netlink.link("eth0").await.unwrap();
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            let [free, taken] = ["10.0.0.5", "10.0.0.6"].map(|text| text.parse().unwrap());
            let wanted = BTreeSet::from([free, taken]);
            let mut vips = Vips::default();
            for found in [BTreeSet::new(), BTreeSet::from([free])] {
                vips.keep(&mut changes, netlink, &link, &wanted, true).await;
                assert_eq!(present(netlink, &link, &wanted).await.unwrap(), found);
                assert!(vips.trouble.as_ref().is_some_and(|why| why.contains("10.0.0.6 is already used")));
            }
            changes.undo(netlink).await.unwrap();
        });
    }
}
