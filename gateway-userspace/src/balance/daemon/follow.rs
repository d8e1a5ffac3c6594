//! What happens on this host's network, and what the balancer does about it.

use std::sync::Arc;

use super::Daemon;
use crate::{
    balance::ways,
    net::{link::Link, mac_text, neighbour::Neighbour},
};

impl Daemon<'_> {
    pub(super) fn heard_of(&mut self, entry: &Neighbour) {
        let Some(port) = self.ports.iter().find(|port| port.link.index == entry.link) else { return };
        let (at, ip) = (entry.link, entry.ip);
        let Some(who) = self.state.who(at, ip) else { return };
        match entry.mac {
            Some(mac) => {
                if self.silent.remove(&(at, ip)) {
                    log::info!("{who} ({ip}) answers again");
                }
                if self.state.learn(at, ip, mac) {
                    log::info!("{who} ({ip}) is at {}", mac_text(mac));
                    self.apply_or_retry();
                }
            }
            None if self.state.knows(at, ip) && self.silent.insert((at, ip)) => {
                log::warn!("{who} ({ip}) does not answer on {} any more", port.link.name);
            }
            None => {}
        }
    }

    /// Which of [`Self::ports`] an interface is.
    pub(super) fn port(&self, index: u32) -> Option<usize> {
        self.ports.iter().position(|port| port.link.index == index)
    }

    /// True if everybody on the link has to be told where the VIPs are.
    pub(super) fn link_changed(&mut self, at: usize, link: Link) -> bool {
        let before = &self.ports[at].link;
        // Not when it is set up: the carrier may take seconds, and until then no claim can be decided.
        let came_up = link.carrier && !before.carrier;
        if came_up {
            log::warn!("{} is up again", link.name);
        } else if before.carrier && !link.carrier {
            let why = if link.up { "has no carrier" } else { "is down" };
            log::warn!("{} {why}: no VIP can be reached through it", link.name);
        }
        let moved = link.mac.is_some_and(|mac| self.state.set_interface_mac(link.index, mac));
        if moved {
            log::info!("{} has the address {} now", link.name, link.mac.map(mac_text).unwrap_or_default());
            self.apply_or_retry();
        }
        self.ports[at].link = link;
        came_up || moved
    }

    pub(super) fn link_gone(&self, at: usize) -> anyhow::Error {
        anyhow::anyhow!("the interface {} is gone; start again once it is back", self.ports[at].link.name)
    }

    /// Reads what events may have missed, and does again what failed or what somebody has taken away.
    pub(super) async fn catch_up(&mut self) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for at in 0..self.ports.len() {
            match self.netlink.link_at(self.ports[at].link.index).await {
                Ok(Some(link)) => {
                    if self.link_changed(at, link) {
                        changed.push(at);
                    }
                }
                Ok(None) => return Err(self.link_gone(at)),
                Err(error) => log::warn!("{error:#}"),
            }
        }
        self.follow_routes().await;
        self.settle(&changed).await;
        Ok(())
    }

    /// Routes have no events of their own here: they are read again and again.
    async fn follow_routes(&mut self) {
        let links: Vec<_> = self.ports.iter().map(|port| port.link.clone()).collect();
        let model = Arc::clone(self.state.model());
        let astray = match ways::find(&self.netlink, &model, &links, self.local.as_ref()).await {
            Ok(found) => {
                if self.state.reroute(found.hops) {
                    log::info!("the routes to the instances have changed");
                    self.apply_or_retry();
                    self.follow_probes();
                }
                found.unreachable.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Err(error) => format!("{error:#}"),
        };
        if astray != self.astray && !astray.is_empty() {
            log::warn!("{astray}; until then packets go the way they went");
        }
        self.astray = astray;
    }

    /// Brings addresses, neighbours and tables to what they should be. Everybody on the links of `announce` is told where
    /// the VIPs are.
    pub(super) async fn settle(&mut self, announce: &[usize]) {
        for (at, port) in self.ports.iter_mut().enumerate().filter(|(_, port)| port.link.carrier) {
            let wanted = self.state.model().vip.on(port.side).into_iter().collect();
            let announce = announce.contains(&at);
            port.vips.keep(&mut self.changes, &self.netlink, &port.link, &wanted, announce).await;
        }
        self.ask_neighbours().await;
        if self.behind {
            self.apply_or_retry();
        }
    }

    /// Has the next hops' MACs resolved or confirmed.
    pub(super) async fn ask_neighbours(&mut self) {
        for at in 0..self.ports.len() {
            let link = &self.ports[at].link;
            match self.neighbours.ask(&self.netlink, link.index, self.state.wanted(link.index)).await {
                Ok(table) => table.iter().for_each(|entry| self.heard_of(entry)),
                Err(error) if link.up => log::warn!("{error:#}"),
                Err(_) => {}
            }
        }
    }
}
