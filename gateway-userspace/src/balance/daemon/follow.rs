//! What happens on this host's network, and what the balancer does about it.

use std::{net::IpAddr, time::Instant};

use super::Daemon;
use crate::{
    model::InstanceName,
    net::{link::Link, mac_text, neighbour::Neighbour},
};

/// The state of the way to an instance's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is this very host's.
    Local,
    /// The next hop's MAC is known.
    Resolved,
    /// It is being asked for.
    Resolving,
    /// The next hop has not answered since then. What goes there goes to the MAC that it had.
    Failed(Instant),
    /// No route by an interface of ours. What goes there goes the way it went.
    NoRoute,
}

impl Daemon<'_> {
    pub(super) fn heard_of(&mut self, entry: &Neighbour) {
        let Some(port) = self.ports.iter().find(|port| port.link.index == entry.link) else { return };
        let (at, ip) = (entry.link, entry.ip);
        // Of nearly everybody, each time that all are asked for: nobody has to be looked for, then.
        if entry.mac.is_some() && entry.mac == self.state.mac(at, ip) && !self.silent.contains_key(&(at, ip))
        {
            return;
        }
        let Some(who) = self.state.who(at, ip) else { return };
        match entry.mac {
            Some(mac) => {
                let was_known = self.state.knows(at, ip);
                if self.silent.remove(&(at, ip)).is_some() && was_known {
                    log::info!("{who} ({ip}) answers again");
                }
                if self.state.learn(at, ip, mac) {
                    log::info!("{who} ({ip}) is at {}", mac_text(mac));
                    self.soon.tables(Instant::now());
                }
            }
            None if self.silent.contains_key(&(at, ip)) => {}
            None if self.state.knows(at, ip) => {
                log::warn!("{who} ({ip}) does not answer on {} any more", port.link.name);
                self.silent.insert((at, ip), Instant::now());
            }
            None if entry.failed => {
                self.silent.insert((at, ip), Instant::now());
            }
            None => {}
        }
    }

    /// An entry that is gone is asked for anew.
    pub(super) fn has_lost(&mut self, entry: &Neighbour) {
        if self.state.who(entry.link, entry.ip).is_some() {
            self.soon.neighbours(Instant::now());
        }
    }

    /// Says once who takes no flows because nothing is known of the way there, after a tick's patience.
    fn say_who_is_awaited(&mut self) {
        let awaited = self.state.unresolved();
        self.awaited.retain(|name, _| awaited.contains(name));
        for name in awaited {
            let ticks = self.awaited.entry(name.clone()).or_default();
            *ticks = ticks.saturating_add(1);
            if *ticks == 2 {
                log::warn!("{name} does not answer; it takes no flows until it, or the router to it, does");
            }
        }
    }

    /// How packets get to an instance's address.
    pub(super) fn reach(&self, name: &InstanceName, dip: IpAddr) -> Reach {
        let key = (name.clone(), dip);
        let hop = self.state.hops_of(name).find(|(of, _)| *of == dip).map(|(_, hop)| *hop);
        let Some(hop) = hop.filter(|_| !self.lost.contains(&key)) else {
            return if self.local.as_ref() == Some(name) { Reach::Local } else { Reach::NoRoute };
        };
        match self.silent.get(&(hop.interface, hop.neighbour)) {
            Some(since) => Reach::Failed(*since),
            None if self.state.knows(hop.interface, hop.neighbour) => Reach::Resolved,
            None => Reach::Resolving,
        }
    }

    /// Which of [`Self::ports`] an interface is that is there.
    pub(super) fn port(&self, index: u32) -> Option<usize> {
        self.ports.iter().position(|port| port.link.index == index && port.is_there())
    }

    /// True if everybody on the link has to be told where the VIPs are.
    pub(super) fn link_changed(&mut self, at: usize, link: Link) -> bool {
        let before = &self.ports[at].link;
        let before_name = before.name.clone();
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
        if link.name != before_name {
            log::warn!(
                "{before_name} is called {} now and is served as before; the file's name counts again at the next start",
                link.name
            );
        }
        self.ports[at].link = link;
        came_up || moved
    }

    /// Reads what events may have missed, and does again what failed or what somebody has taken away.
    pub(super) async fn catch_up(&mut self) {
        let mut changed = Vec::new();
        for at in 0..self.ports.len() {
            if !self.ports[at].is_there() {
                self.find_link(at).await;
                continue;
            }
            match self.netlink.link_at(self.ports[at].link.index).await {
                Ok(Some(link)) => {
                    if self.link_changed(at, link) {
                        changed.push(at);
                    }
                }
                Ok(None) => self.lose_link(at),
                Err(error) => log::warn!("{error:#}"),
            }
        }
        self.soon.routes(Instant::now());
        self.say_who_is_awaited();
        self.settle(&changed).await;
    }

    /// Brings addresses, neighbours and tables to what they should be. Everybody on the links of `announce` is told where
    /// the VIPs are.
    pub(super) async fn settle(&mut self, announce: &[usize]) {
        for (at, port) in
            self.ports.iter_mut().enumerate().filter(|(_, port)| port.is_there() && port.link.carrier)
        {
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
