//! A client's end of TCP flows by frames of the lab's own: it decides when each segment is sent, which a kernel does not.

use std::{net::IpAddr, time::Duration};

use anyhow::Context;

use crate::{
    address::{BALANCER, CLIENT, Net, Station, mac_text},
    frame::{self, Segment, Tcp, flag, protocol},
    lab::Lab,
    segments::Service,
    wire::Wire,
};

/// For an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Its address: on the LAN, and no host's, so that no kernel resets what it does not know.
pub const PEER: Station = Station::new(Net::Lan, 98);

/// Behind the client's cable.
#[derive(Debug)]
pub struct Peer {
    wire: Wire,
}

/// One flow.
#[derive(Debug)]
pub struct Flow {
    service: Service,
    from: (IpAddr, u16),
    sequence: u32,
    acknowledgement: u32,
}

impl Peer {
    /// Has every instance find it by the client's Ethernet address.
    ///
    /// # Errors
    /// `ip` refuses something.
    pub fn new(lab: &Lab) -> anyhow::Result<Self> {
        let mac = mac_text(CLIENT.mac());
        for host in &lab.hosts.instances {
            host.ip(PEER
                .addresses()
                .map(|ip| format!("neighbour replace {ip} lladdr {mac} dev eth0 nud permanent")))?;
        }
        Ok(Self { wire: Wire::open(&lab.hosts.client, "eth0")? })
    }

    /// The SYN of a flow from `port`; nobody waits for the answer.
    ///
    /// # Errors
    /// The wire is broken.
    pub fn syn(&self, service: Service, port: u16) -> anyhow::Result<Flow> {
        let from = PEER.addresses()[usize::from(service.vip.is_ipv6())];
        // Far from each other, as those of real clients.
        let sequence = u32::from(port).wrapping_mul(0x9e37_79b1);
        let flow = Flow { service, from: (from, port), sequence, acknowledgement: 0 };
        self.wire.send(&flow.frame(flag::SYN, b""))?;
        Ok(Flow { sequence: sequence.wrapping_add(1), ..flow })
    }

    /// Waits for the answer to the SYN, and acknowledges nothing.
    ///
    /// # Errors
    /// None comes.
    pub fn opened(&self, flow: &mut Flow) -> anyhow::Result<()> {
        let answer = self.receive(flow, |segment| {
            segment.packet.flags == flag::SYN | flag::ACK && segment.acknowledgement == flow.sequence
        })?;
        flow.acknowledgement = answer.sequence.wrapping_add(1);
        Ok(())
    }

    /// Sends data with an acknowledgement of all that was heard, and waits for the data that comes back.
    ///
    /// # Errors
    /// None comes.
    pub fn ask(&self, flow: &mut Flow, data: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.wire.send(&flow.frame(flag::ACK | flag::PSH, data))?;
        self.answer(flow, data)
    }

    /// Waits for what comes back once `data` has been sent, in whatever way.
    ///
    /// # Errors
    /// Nothing does.
    pub fn answer(&self, flow: &mut Flow, data: &[u8]) -> anyhow::Result<Vec<u8>> {
        flow.sequence = flow.sequence.wrapping_add(u32::try_from(data.len())?);
        let answer = self.receive(flow, |segment| {
            segment.sequence == flow.acknowledgement
                && (!segment.data.is_empty() || segment.packet.flags & flag::RST != 0)
        })?;
        flow.acknowledgement = flow.acknowledgement.wrapping_add(u32::try_from(answer.data.len())?);
        Ok(answer.data)
    }

    fn receive(&self, flow: &Flow, wanted: impl Fn(&Segment) -> bool) -> anyhow::Result<Segment> {
        let (from, port) = flow.from;
        let ours = |segment: &Segment| {
            let packet = &segment.packet;
            (packet.from, packet.to) == (flow.service.vip, from)
                && packet.ports == Some((flow.service.port, port))
        };
        let answer = self.wire.receive(ANSWER, |bytes| {
            Segment::parse(bytes).filter(|segment| ours(segment) && wanted(segment))
        })?;
        answer.with_context(|| format!("{} does not answer port {port}", flow.service.vip))
    }
}

impl Flow {
    /// The frame of its next segment, as the client sends it to the balancer.
    pub fn frame(&self, flags: u8, data: &[u8]) -> Vec<u8> {
        let ((from, port), to) = (self.from, self.service.vip);
        let (sequence, acknowledgement) = (self.sequence, self.acknowledgement);
        let tcp = Tcp { from: port, to: self.service.port, sequence, acknowledgement, flags };
        let segment = tcp.segment(from, to, data);
        frame::packet(BALANCER.mac(), CLIENT.mac(), from, to, protocol::TCP, &segment)
    }
}
