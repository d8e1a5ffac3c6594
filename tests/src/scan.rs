//! Every TCP port of an address, by frames of our own: connections to 65,534 silent ports would take minutes to give up.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::bail;

use crate::{
    address::Station,
    frame::{self, Packet, Tcp, flag, protocol},
    host::Host,
    wire::Wire,
};

/// Fewer than a veth's ring has slots (256), so that none is lost on the way.
const BURST: u16 = 100;
/// How long the answer may take that ends a burst.
const ANSWER: Duration = Duration::from_secs(5);

/// Ports by what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Answered by SYN-ACK.
    pub open: BTreeSet<u16>,
    /// Answered by RST.
    pub refused: BTreeSet<u16>,
}

/// Sends a SYN to each of the 65,535 ports of `target`. After every burst one goes to `open`, which has to answer: what was sent
/// before it has then been dealt with, since one queue is served in order.
///
/// # Errors
/// `open` does not answer.
pub fn ports(host: &Host, from: Station, target: IpAddr, open: u16) -> anyhow::Result<Scan> {
    let wire = Wire::open(host, "eth0")?;
    let [v4, v6] = from.addresses();
    let source = if target.is_ipv4() { v4 } else { v6 };
    let router = Station::new(from.net, 1).mac();
    let send = |from_port: u16, port: u16| {
        let segment = Tcp::syn(from_port, port).segment(source, target, b"");
        wire.send(&frame::packet(router, from.mac(), source, target, protocol::TCP, &segment))
    };
    let mut scan = Scan::default();
    // Ports that no socket of the host has, below the ephemeral range; each burst's last SYN has one of its own.
    let scanning = 10_000;
    for (ending, first) in (scanning + 1..).zip((1..=u16::MAX).step_by(usize::from(BURST))) {
        for port in first..=first.saturating_add(BURST - 1) {
            send(scanning, port)?;
        }
        send(ending, open)?;
        let answered = wire.receive(ANSWER, |bytes| {
            let packet = Packet::parse(bytes).filter(|packet| packet.from == target)?;
            let (port, to) = packet.ports?;
            if to == scanning {
                let answers = if packet.flags & flag::RST != 0 { &mut scan.refused } else { &mut scan.open };
                answers.insert(port);
            }
            (to == ending).then_some(())
        })?;
        if answered.is_none() {
            bail!("port {open} of {target} stopped answering near port {first}");
        }
    }
    Ok(scan)
}
