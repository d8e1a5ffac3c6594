//! Pairs of interfaces: frames go in at one end, whatever is under test stands at the other, and what it forwards comes back.
//!
//! ```text
//!  source ── live frames ──► g0 ═══ r0  program under test      one pair for each case, all of them on one core:
//!    sink ◄──────────────────── XDP_TX or the stack             generator, program and sink run in turn
//! ```

use lab::{
    address::Mac,
    host::{self, Host},
};

use crate::builder::{CLIENT, OURS};

/// Where frames are made and end.
#[derive(Debug)]
pub(crate) struct Source(pub(crate) Host);

/// A pair of interfaces: `near` in the source, `far` at a receiver.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) near: String,
    pub(crate) near_index: u32,
    pub(crate) far: String,
    pub(crate) far_index: u32,
}

/// A host without IPv6, which would send frames of its own accord.
pub(crate) fn quiet_host(name: &str) -> anyhow::Result<Host> {
    let host = Host::new(name)?;
    for family in ["all", "default"] {
        host.sysctl(&format!("net/ipv6/conf/{family}/disable_ipv6"), "1")?;
    }
    Ok(host)
}

impl Source {
    pub(crate) fn new() -> anyhow::Result<Self> {
        quiet_host("source").map(Self)
    }

    /// The n-th pair, to `receiver`.
    pub(crate) fn pair(&self, receiver: &Host, n: usize) -> anyhow::Result<Pair> {
        let (near, far) = (format!("g{n}"), format!("r{n}"));
        self.0.ip([
            format!(
                "link add {near} address {} type veth peer name {far} address {} netns {}",
                mac_text(CLIENT),
                mac_text(OURS),
                receiver.path()
            ),
            format!("link set {near} up"),
        ])?;
        receiver.ip([format!("link set {far} up")])?;
        let index = |host: &Host, name: &str| host.enter(|| nix::net::if_::if_nametoindex(name));
        let (near_index, far_index) = (index(&self.0, &near)?, index(receiver, &far)?);
        Ok(Pair { near, near_index, far, far_index })
    }
}

/// As `ip` writes it.
pub(crate) fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// One of an interface's own counters (`ethtool -S`), added up over its queues: `xdp_drops`.
pub(crate) fn counter(host: &Host, interface: &str, name: &str) -> anyhow::Result<u64> {
    let output = host.run_command(host::command(&format!("ethtool -S {interface}")))?;
    let lines = output.text();
    let of_queues = lines.lines().filter_map(|line| line.trim().strip_prefix("rx_queue_"));
    let values = of_queues.filter_map(|line| {
        line.split_once('_')?.1.strip_prefix(name)?.strip_prefix(": ")?.parse::<u64>().ok()
    });
    Ok(values.sum())
}
