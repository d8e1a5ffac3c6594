//! Knocking at an address by everything but TCP, and hearing whether anything answers.

use std::{net::IpAddr, time::Duration};

use anyhow::Context;

use crate::{
    address::Station,
    frame::{self, Packet, Tcp, protocol},
    host::Host,
    wire::Wire,
};

/// How long the answer may take that ends it.
const ANSWER: Duration = Duration::from_secs(5);

/// What is sent, each with a name for people.
#[derive(Debug, Clone)]
pub struct Knock {
    /// For reports: `UDP to port 3443`.
    pub name: String,
    protocol: u8,
    payload: Vec<u8>,
}

impl Knock {
    /// Everything that R20 names beside TCP, and a few that only an attacker tries.
    pub fn all(from: IpAddr, to: IpAddr) -> Vec<Self> {
        let of =
            |name: &str, protocol: u8, payload: Vec<u8>| Self { name: name.to_owned(), protocol, payload };
        let (icmp, echo) = frame::echo(from, to, 77);
        let mut all = [53, 80, 443, 3443, 33434]
            .map(|port| {
                of(&format!("UDP to port {port}"), protocol::UDP, frame::udp(from, to, 5000, port, b"hello"))
            })
            .to_vec();
        // SCTP, RFC 9260: source port, destination port, tag, no checksum; then an INIT chunk.
        let sctp = [5000_u16.to_be_bytes(), 3443_u16.to_be_bytes()].concat();
        let sctp = [sctp, vec![0; 8], vec![1, 0, 0, 20], vec![1; 16]].concat();
        all.extend([
            of("ICMP echo", icmp, echo),
            of("SCTP to port 3443", protocol::SCTP, sctp),
            of("GRE", 47, vec![0; 24]),
            of("ESP", 50, vec![0; 24]),
            of("IP in IP", 4, vec![0x45; 40]),
            of("protocol 253 (experimental)", 253, vec![0; 24]),
        ]);
        all
    }

    /// The frame of it on the way to a router.
    pub fn frame(&self, from: Station, source: IpAddr, to: IpAddr) -> Vec<u8> {
        let router = Station::new(from.net, 1).mac();
        frame::packet(router, from.mac(), source, to, self.protocol, &self.payload)
    }
}

/// Sends each knock to `target`, then a SYN to its port `open`, which has to answer: what was sent before has been dealt with
/// by then. Every packet that came from `target` before that answer is in the result; it is empty where all was silent.
///
/// # Errors
/// `open` does not answer.
pub fn knock(host: &Host, from: Station, target: IpAddr, open: u16) -> anyhow::Result<Vec<Packet>> {
    let [v4, v6] = from.addresses();
    let source = if target.is_ipv4() { v4 } else { v6 };
    let wire = Wire::open(host, "eth0")?;
    for knock in Knock::all(source, target) {
        wire.send(&knock.frame(from, source, target))?;
    }
    let ending = 9_999;
    let syn = Tcp::syn(ending, open).segment(source, target, b"");
    let router = Station::new(from.net, 1).mac();
    wire.send(&frame::packet(router, from.mac(), source, target, protocol::TCP, &syn))?;
    let mut answers = Vec::new();
    let ended = wire.receive(ANSWER, |bytes| {
        let packet = Packet::parse(bytes).filter(|packet| packet.from == target)?;
        if packet.ports == Some((open, ending)) {
            return Some(());
        }
        answers.push(packet);
        None
    })?;
    ended.with_context(|| format!("port {open} of {target} does not answer"))?;
    Ok(answers)
}
