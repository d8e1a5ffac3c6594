//! What a program could leave behind on a host, to compare before and after.

use std::collections::BTreeSet;

use crate::host::Host;

/// A host's state. Two of them are compared as they are; their difference is in the assertion's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Addresses by interface, with their properties.
    pub addresses: BTreeSet<String>,
    /// Interfaces with their XDP programs.
    pub links: BTreeSet<String>,
    /// Routes of all tables.
    pub routes: BTreeSet<String>,
    /// How ARP is answered and asked.
    pub arp: String,
    /// Whatever is pinned on the machine's bpffs.
    pub pins: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at a host.
    ///
    /// # Errors
    /// `ip` or `find` fails.
    pub fn of(host: &Host) -> anyhow::Result<Self> {
        let lines =
            |command: &str| Ok::<_, anyhow::Error>(host.must(command)?.lines().map(str::to_owned).collect());
        Ok(Self {
            addresses: lines("ip -oneline address show")?,
            links: lines("ip -oneline link show")?,
            routes: host
                .must("ip route show table all")?
                .lines()
                .chain(host.must("ip -6 route show table all")?.lines())
                .map(str::to_owned)
                .collect(),
            arp: host
                .must("grep -r . /proc/sys/net/ipv4/conf --include=arp_ignore --include=arp_announce")?,
            pins: lines("find /sys/fs/bpf")?,
        })
    }
}
