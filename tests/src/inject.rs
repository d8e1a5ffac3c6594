//! Frames of the lab's own making, sent towards the balancer no faster than it takes them.

use std::{net::IpAddr, time::Duration};

use anyhow::Context;

use crate::{
    address::{BALANCER, Mac, Net, Station},
    frame::{self, protocol},
    host::Host,
    wire::Wire,
};

/// Fewer than a veth's ring has slots (256), so that none is lost on the way.
const BURST: usize = 100;
/// For an echo's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A host's wire, and the knowledge of where the balancer is from there.
#[derive(Debug)]
pub struct Injector {
    /// Hears what comes back.
    pub wire: Wire,
    /// Who sends.
    pub from: Station,
    /// Where frames have to go for the balancer: itself, or the router.
    pub next_hop: Mac,
}

impl Injector {
    /// On a host that has one interface.
    ///
    /// # Errors
    /// It has not.
    pub fn new(host: &Host, from: Station) -> anyhow::Result<Self> {
        let next_hop = match from.net {
            Net::Lan => BALANCER,
            net => Station::new(net, 1),
        };
        Ok(Self { wire: Wire::open(host, "eth0")?, from, next_hop: next_hop.mac() })
    }

    /// The same from the router onto the LAN: frames as they come from elsewhere, malformed ones too.
    ///
    /// # Errors
    /// No wire can be opened.
    pub fn of_router(router: &Host) -> anyhow::Result<Self> {
        Ok(Self {
            wire: Wire::open(router, "lan")?,
            from: Station::new(Net::Lan, 1),
            next_hop: BALANCER.mac(),
        })
    }

    /// Sends every frame; when this returns the balancer has dealt with all of them.
    ///
    /// # Errors
    /// The balancer's own address does not answer an echo.
    pub fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let mut waiting = 0;
        for frame in frames {
            self.wire.send(&frame)?;
            waiting += 1;
            if waiting == BURST {
                self.settle()?;
                waiting = 0;
            }
        }
        self.settle()
    }

    /// Waits until the balancer has dealt with everything sent before. It serves one queue in order, and an echo to its own
    /// address passes it (R24).
    fn settle(&self) -> anyhow::Result<()> {
        let (from, to): (IpAddr, IpAddr) = (self.from.v4().into(), BALANCER.v4().into());
        let (icmp, message) = frame::echo(from, to, 1);
        self.wire.send(&frame::packet(self.next_hop, self.from.mac(), from, to, icmp, &message))?;
        let reply = |bytes: &[u8]| {
            let packet = frame::Packet::parse(bytes)?;
            (packet.from == to && packet.to == from && packet.protocol == protocol::ICMP).then_some(())
        };
        let answered = self.wire.receive(ANSWER, reply)?;
        answered.with_context(|| format!("{to} does not answer an echo from {from}"))
    }
}
