//! Ways for calls of the test console (R61): to one instance, by the same programs as probes through the VIP.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, SocketAddr},
};

use super::Daemon;
use crate::{
    api::{Lent, Refused, WayWish},
    model::{Forwarding, Instance, InstanceName},
    plan::Served,
    probe::Way,
};

/// Ports from which clients connect, mostly: the first, and how many.
const PORTS: (u16, u64) = (32_768, 28_232);

impl Daemon<'_> {
    /// The way to a VIP's port at the instance that is wished for, or that a new flow would get. Programs that it takes are attached
    /// until [`Self::take_way_back`].
    pub(super) fn lend_way(&mut self, wish: &WayWish) -> Result<Lent, Refused> {
        let (name, why) = match &wish.instance {
            Some(name) => (name.clone(), "it was asked for".to_owned()),
            None => self.chosen(wish.vip)?,
        };
        let model = self.state.model();
        let instance = model.instance(&name.0);
        let instance =
            instance.ok_or_else(|| Refused::Unknown(format!("the file has no instance {name}")))?;
        let path = self.state.path(&self.plan, instance, wish.vip);
        let target = path.map_err(|error| Refused::Conflict(error.to_string()))?;
        let forwarding = model.balancer.forwarding;
        let connections = match target.way {
            Way::DataPath { .. } => Some(self.open_for_console()?),
            Way::Direct { .. } | Way::Translated { .. } => None,
        };
        let how = how(&target.way, forwarding, &name);
        Ok(Lent { instance: name, why, how, target, connections })
    }

    /// Where the file asks for connections through the VIP, their programs stay.
    pub(super) fn take_way_back(&mut self) {
        self.close_data_path();
    }

    fn open_for_console(&mut self) -> Result<crate::dataplane::Connections, Refused> {
        let failed =
            |error: crate::dataplane::Error| Refused::Failed(format!("{:#}", anyhow::Error::from(error)));
        let connections = self.dataplane.connections().map_err(failed)?;
        if !self.dataplane.has_probes() {
            let links = self.links();
            let names = links.iter().map(|link| link.name.as_str());
            self.dataplane.attach_probes(names).map_err(failed)?;
        }
        Ok(connections)
    }

    /// By the ring, as a client on this host would get it.
    fn chosen(&self, vip: SocketAddr) -> Result<(InstanceName, String), Refused> {
        let model = self.state.model();
        let source = |one: &Instance| match self.state.path(&self.plan, one, vip).ok()?.way {
            Way::DataPath { source, .. } | Way::Translated { source, .. } => Some(source),
            Way::Direct { .. } => Some(vip.ip()),
        };
        let nobody = |text: &str| Refused::Conflict(text.to_owned());
        let source: Option<IpAddr> = model.instances.iter().find_map(source);
        let source =
            source.ok_or_else(|| nobody("no connection can be made to any instance from this host"))?;
        // Any number will do, but not the same each time.
        let port = PORTS.0 + (RandomState::new().hash_one(vip) % PORTS.1) as u16;
        let bucket = Served::of(model, &[])
            .bucket(vip, SocketAddr::new(source, port), model.balancer.affinity)
            .ok_or_else(|| Refused::Unknown(format!("{vip} is not served")))?;
        let owner = self.plan.ring.get(bucket as usize).map_or(0, |bucket| bucket.current());
        let name = self.plan.numbers.iter().find(|(_, number)| **number == owner && owner != 0);
        let (name, _) = name.ok_or_else(|| nobody("no instance takes new flows"))?;
        let why = format!("the ring gives it a new flow from {source}, port {port}: bucket {bucket}");
        Ok((name.clone(), why))
    }
}

/// For people, what the way shows and what it does not.
fn how(way: &Way, forwarding: Forwarding, name: &InstanceName) -> String {
    match way {
        Way::Direct { .. } => format!(
            "{name} runs on this host, which has the VIP itself: over the loopback interface, and not through the XDP program"
        ),
        Way::Translated { source, to } => {
            format!(
                "from {source} to {to}, where clients' packets for the VIP go; not through the XDP program"
            )
        }
        Way::DataPath { source, .. } => format!(
            "from {source}, by {forwarding} to {name} as a client's packets go from the XDP program on; whom that program admits \
             is not tried"
        ),
    }
}
