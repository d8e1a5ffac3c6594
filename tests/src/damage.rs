//! Packets that a host's stack found broken: the lab's cards check nothing, so the kernel adds up every checksum itself.

use std::collections::BTreeMap;

use crate::host::Host;

/// What the kernel counts of a namespace: `Name: field …` above `Name: value …` in the first two, a field a line in the last.
const FILES: [&str; 3] = ["snmp", "netstat", "snmp6"];

/// Counters of broken packets that are not zero, as in `Tcp InCsumErrors`.
pub type Damage = BTreeMap<String, u64>;

/// Looks at a host. A namespace begins at zero.
///
/// # Errors
/// The files cannot be read.
pub fn of(host: &Host) -> anyhow::Result<Damage> {
    let mut all = counters(host)?;
    all.retain(|name, value| *value > 0 && (name.ends_with("InCsumErrors") || name == "Tcp InErrs"));
    Ok(all)
}

/// All that the kernel counts for a host, as in `Icmp OutDestUnreachs` and `Icmp6OutPktTooBigs`.
///
/// # Errors
/// The files cannot be read.
pub fn counters(host: &Host) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for file in FILES {
        let text = host.must(&format!("cat /proc/net/{file}"))?;
        let lines: Vec<_> = text.lines().collect();
        if file == "snmp6" {
            let fields = lines.iter().filter_map(|line| line.split_once(char::is_whitespace));
            all.extend(
                fields.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))),
            );
            continue;
        }
        for pair in lines.chunks_exact(2) {
            let (names, values) = (pair[0].split_whitespace(), pair[1].split_whitespace());
            let part = names.clone().next().unwrap_or_default().trim_end_matches(':').to_owned();
            let fields = names.zip(values).skip(1);
            all.extend(
                fields.filter_map(|(name, value)| Some((format!("{part} {name}"), value.parse().ok()?))),
            );
        }
    }
    Ok(all)
}
