//! What a program could leave behind on a host, to compare before and after.

use std::collections::BTreeSet;

use crate::host::Host;

/// What is asked: addresses, interfaces with their XDP programs, routes of all tables and the rules that choose one, how
/// ARP is answered and asked and what is routed, and whatever is pinned on the machine's bpffs.
const QUESTIONS: [&str; 9] = [
    "ip -oneline address show",
    "ip -oneline link show",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule show",
    "ip -6 rule show",
    "grep -r . /proc/sys/net/ipv4/conf --include=arp_ignore --include=arp_announce --include=forwarding \
     --include=accept_local --include=rp_filter",
    "grep -r . /proc/sys/net/ipv6/conf --include=forwarding --include=accept_ra",
    "find /sys/fs/bpf",
];

/// A host's state, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at a host.
    ///
    /// # Errors
    /// `ip`, `grep` or `find` fails.
    pub fn of(host: &Host) -> anyhow::Result<Self> {
        let answers =
            QUESTIONS.iter().map(|question| host.must(question)).collect::<anyhow::Result<Vec<_>>>()?;
        let own = format!("-{}", host.cookie()?);
        let lines = answers.iter().flat_map(|answer| answer.lines()).map(str::trim_end);
        Ok(Self(lines.filter(|line| is_of(line, &own)).map(ToOwned::to_owned).collect()))
    }

    /// What came (`+`) and what went (`-`) since `before`; nothing where the host is as it was.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let came = self.0.difference(&before.0).map(|line| format!("+ {line}"));
        came.chain(before.0.difference(&self.0).map(|line| format!("- {line}"))).collect()
    }

    /// Whether an interface carries an XDP program.
    pub fn has_xdp(&self) -> bool {
        self.0.iter().any(|line| line.contains(" xdp") && line.contains("mtu"))
    }
}

/// All hosts share one bpffs, and what others have there comes and goes: their folders have their namespace in the name.
fn is_of(line: &str, own: &str) -> bool {
    let Some(below) = line.strip_prefix("/sys/fs/bpf/gateway") else { return true };
    below.split('/').nth(1).is_some_and(|service| service.ends_with(own))
}
