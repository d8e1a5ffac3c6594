//! TCP flows as bare segments: thousands at a time, each packet told apart, and which instance got it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::bail;

use crate::{
    address::Mac,
    frame::{self, Packet, Tcp, flag, protocol},
    inject::Injector,
    lab::Lab,
    wait,
    wire::Wire,
};

/// From the last frame's sending to its arrival.
const ARRIVAL: Duration = Duration::from_secs(5);

/// A flow's address and port at the client's side.
pub type Source = (IpAddr, u16);

/// Flows to one address and port of the balancer's.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The VIP.
    pub vip: IpAddr,
    /// Its port.
    pub port: u16,
}

/// The instances' ends of the LAN.
#[derive(Debug)]
pub struct Arrivals {
    wires: BTreeMap<String, Wire>,
}

/// Which instances got packets of a flow, and how many in all.
#[derive(Debug, Clone, Default)]
pub struct Got {
    /// By flow.
    pub instances: BTreeMap<Source, BTreeSet<String>>,
    /// Packets.
    pub packets: usize,
}

impl Service {
    /// The frame of a flow's segment. Flows begin at sequence number 1000.
    pub fn segment(self, injector: &Injector, source: Source, flags: u8, data: &[u8]) -> Vec<u8> {
        self.segment_to(injector.next_hop, injector.from.mac(), source, flags, data)
    }

    fn segment_to(self, to: Mac, from: Mac, (address, port): Source, flags: u8, data: &[u8]) -> Vec<u8> {
        let first = flags & flag::SYN != 0;
        let sequence = if first { 1000 } else { 1001 };
        let acknowledgement = if first { 0 } else { 5001 };
        let tcp = Tcp { from: port, to: self.port, sequence, acknowledgement, flags };
        frame::packet(to, from, address, self.vip, protocol::TCP, &tcp.segment(address, self.vip, data))
    }
}

impl Arrivals {
    /// Listens on every instance.
    ///
    /// # Errors
    /// A wire cannot be opened.
    pub fn listen(lab: &Lab) -> anyhow::Result<Self> {
        let open = |host: &crate::host::Host| Ok((host.name().to_owned(), Wire::open(host, "eth0")?));
        Ok(Self { wires: lab.hosts.instances.iter().map(open).collect::<anyhow::Result<_>>()? })
    }

    /// What has arrived for `service` since the last look, once it is `packets` in number.
    ///
    /// # Errors
    /// It is another number.
    pub fn expect(&self, service: Service, packets: usize) -> anyhow::Result<Got> {
        let mut got = Got::default();
        wait::until(ARRIVAL, || match self.collect(service, &mut got) {
            Ok(()) if got.packets < packets => None,
            outcome => Some(outcome),
        })
        .transpose()?;
        if got.packets != packets {
            bail!("{} packets arrived, {packets} were sent", got.packets);
        }
        Ok(got)
    }

    /// What has arrived for `service` until now; call it after [`Injector::send`], which waits for the balancer.
    ///
    /// # Errors
    /// A wire is broken.
    pub fn until_now(&self, service: Service) -> anyhow::Result<Got> {
        let mut got = Got::default();
        self.collect(service, &mut got)?;
        Ok(got)
    }

    /// The segments for `service` that have arrived until now, each with the instance at which it did.
    ///
    /// # Errors
    /// A wire is broken.
    pub fn segments(&self, service: Service) -> anyhow::Result<Vec<(String, Packet)>> {
        let ours = |frame: &[u8]| {
            let packet = Packet::parse(frame).filter(|packet| packet.to == service.vip)?;
            packet.ports.filter(|(_, to)| *to == service.port).map(|_| packet)
        };
        let mut all = Vec::new();
        for (name, wire) in &self.wires {
            all.extend(wire.arrived(ours)?.into_iter().map(|packet| (name.clone(), packet)));
        }
        Ok(all)
    }

    /// Frames for `vip`, each with the instance at which it arrived, once there are so many.
    ///
    /// # Errors
    /// It is another number.
    pub fn frames(&self, count: usize, vip: IpAddr) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let ours = |frame: &[u8]| {
            let for_one = frame.first()? & 1 == 0;
            (for_one && frame::destination(frame) == Some(vip)).then(|| frame.to_vec())
        };
        let mut all = Vec::new();
        wait::until(ARRIVAL, || {
            for (name, wire) in &self.wires {
                match wire.arrived(ours) {
                    Ok(frames) => all.extend(frames.into_iter().map(|frame| (name.clone(), frame))),
                    Err(error) => return Some(Err(error)),
                }
            }
            (all.len() >= count).then_some(Ok(()))
        })
        .transpose()?;
        if all.len() != count {
            bail!("{} frames arrived, {count} were expected", all.len());
        }
        Ok(all)
    }

    /// Everything that has arrived until now, for one host and not for all, and has this address in it anywhere.
    ///
    /// # Errors
    /// A wire is broken.
    pub fn frames_with(&self, address: IpAddr) -> anyhow::Result<Vec<Vec<u8>>> {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let holds = |frame: &[u8]| {
            let for_one = frame.first()? & 1 == 0;
            (for_one && frame.windows(octets.len()).any(|part| part == octets)).then(|| frame.to_vec())
        };
        let all = self.wires.values().map(|wire| wire.arrived(holds)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(all.concat())
    }

    fn collect(&self, service: Service, got: &mut Got) -> anyhow::Result<()> {
        for (name, wire) in &self.wires {
            let ours = |frame: &[u8]| {
                let packet = Packet::parse(frame).filter(|packet| packet.to == service.vip)?;
                let (port, to) = packet.ports?;
                (to == service.port).then_some((packet.from, port))
            };
            for source in wire.arrived(ours)? {
                got.packets += 1;
                got.instances.entry(source).or_default().insert(name.clone());
            }
        }
        Ok(())
    }
}

impl Got {
    /// How many flows each instance got.
    ///
    /// # Errors
    /// A flow whose packets went to more than one.
    pub fn owners(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut owners = BTreeMap::new();
        for (source, instances) in &self.instances {
            let Some(owner) = instances.first().filter(|_| instances.len() == 1) else {
                bail!("packets of {source:?} went to {instances:?}");
            };
            *owners.entry(owner.clone()).or_default() += 1;
        }
        Ok(owners)
    }
}
