//! An interface that is gone, with the program and the addresses that were on it: the rest goes on, and it is served again once an
//! interface of its name is there, a virtual machine's that was plugged in anew for example.

use std::time::Instant;

use super::{Daemon, Port, route_replies};
use crate::{
    balance::{preflight, vips::Vips},
    dataplane::XdpMode,
    model::Side,
    net::link::Link,
};

/// Whether an interface is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// With the program on it.
    #[default]
    Here,
    /// Why it cannot be served again though it is there; each reason is logged once.
    Gone(Option<String>),
}

impl Port {
    pub(super) fn new(link: Link, side: Side, mode: XdpMode) -> Self {
        Self { link, side, mode, vips: Vips::default(), presence: Presence::default() }
    }

    pub(super) fn is_there(&self) -> bool {
        self.presence == Presence::Here
    }
}

impl Daemon<'_> {
    /// The interfaces that are there.
    pub(super) fn links(&self) -> Vec<Link> {
        self.ports.iter().filter(|port| port.is_there()).map(|port| port.link.clone()).collect()
    }

    pub(super) fn lose_link(&mut self, at: usize) {
        let port = &mut self.ports[at];
        let index = port.link.index;
        (port.link.up, port.link.carrier) = (false, false);
        port.presence = Presence::Gone(None);
        log::error!(
            "the interface {} is gone, and with it its VIPs and the program that was on it; it is served again once it is back",
            port.link.name
        );
        self.silent.retain(|(on, _), _| *on != index);
        self.neighbours.lose(index);
        let forgotten = self.changes.forget_addresses(index).map_err(anyhow::Error::from);
        let lost = self.dataplane.lose(index).map_err(anyhow::Error::from);
        for error in [forgotten.err(), lost.err()].into_iter().flatten() {
            log::error!("{error:#}");
        }
    }

    /// An interface that is none of ours until now.
    pub(super) async fn look_for_absent(&mut self, link: &Link) {
        let is_absent = |at: &usize| !self.ports[*at].is_there() && self.name(*at) == link.name;
        if let Some(at) = (0..self.ports.len()).find(is_absent) {
            self.find_link(at).await;
        }
    }

    /// Serves an interface that was gone, if one of its name is there.
    pub(super) async fn find_link(&mut self, at: usize) {
        let Err(error) = self.come_back(at).await else { return };
        let presence = Presence::Gone(Some(format!("{error:#}")));
        if presence != self.ports[at].presence {
            log::warn!("{} is not served, which is tried again soon: {error:#}", self.name(at));
        }
        self.ports[at].presence = presence;
    }

    /// As at the start: tables, then the program, and only then the VIPs.
    async fn come_back(&mut self, at: usize) -> anyhow::Result<()> {
        let name = self.name(at);
        if !self.netlink.links().await?.iter().any(|link| link.name == name) {
            return Ok(());
        }
        let (link, mac) = preflight::interface(&self.netlink, &name, |_, _| false).await?;
        self.state.replace_interface(self.ports[at].link.index, link.index, mac);
        self.ports[at].link = link;
        self.apply()?;
        self.ports[at].mode = self.dataplane.attach(&name)?;
        self.ports[at].presence = Presence::Here;
        log::warn!("{name} is there again and is served ({:?} XDP)", self.ports[at].mode);
        if let Err(error) = self.equip().await {
            log::error!("{name} is not all that it was: {error:#}; start the balancer again");
        }
        self.soon.routes(Instant::now());
        self.settle(&[at]).await;
        Ok(())
    }

    /// What an interface has besides the program.
    async fn equip(&mut self) -> anyhow::Result<()> {
        self.dataplane.settle()?;
        let (links, all) = (self.links(), self.netlink.links().await?);
        route_replies(&mut self.changes, self.state.model(), &links, &all)?;
        if self.dataplane.has_probes() {
            self.dataplane.attach_probes(links.iter().map(|link| link.name.as_str()))?;
        }
        Ok(())
    }

    /// The file's: one that comes back is called so.
    fn name(&self, at: usize) -> String {
        let sides = self.state.model().balancer.interfaces.sides();
        let named = sides.into_iter().find(|(side, _)| *side == self.ports[at].side);
        named.map_or_else(|| self.ports[at].link.name.clone(), |(_, name)| name.to_owned())
    }
}
