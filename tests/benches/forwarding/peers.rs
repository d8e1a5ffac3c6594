//! What gateway is compared with.

use std::{fs, path::Path};

use lab::host::Host;

use crate::{stage::Pair, targets::mac};

/// The VIP's rule of nftables: an instance by the flow's hash, written into the destination (`dnat`), with the kernel's table of
/// connections behind it.
pub(crate) fn dnat(vip: &str, port: u16, instances: &[&str]) -> String {
    let map: Vec<_> = instances.iter().enumerate().map(|(n, instance)| format!("{n} : {instance}")).collect();
    format!(
        "table ip bench {{
            chain arriving {{
                type nat hook prerouting priority dstnat
                ip daddr {vip} tcp dport {port} dnat to jhash ip saddr . tcp sport mod {} map {{ {} }}
            }}
        }}",
        instances.len(),
        map.join(", ")
    )
}

/// Gives rules to nft.
pub(crate) fn nft(host: &Host, rules: &str, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("rules.nft");
    fs::write(&file, rules)?;
    host.must(&format!("nft --file {}", file.display())).map(drop)
}

/// A router that spreads the VIP's flows over two instances by nftables, all of them beyond the interface by which they came.
pub(crate) fn nftables_router(host: &Host, pair: &Pair, folder: &Path) -> anyhow::Result<()> {
    let far = &pair.far;
    for (key, value) in [
        ("ipv4/ip_forward".to_owned(), "1"),
        ("ipv4/conf/all/send_redirects".to_owned(), "0"),
        (format!("ipv4/conf/{far}/send_redirects"), "0"),
        (format!("ipv4/conf/{far}/rp_filter"), "0"),
    ] {
        host.sysctl(&format!("net/{key}"), value)?;
    }
    // Without a program of its own an interface takes live frames only with this on.
    host.must(&format!("ethtool -K {far} gro on"))?;
    let instances = ["10.0.0.11", "10.0.0.12"];
    let neighbours = (1..).zip(instances).map(|(n, instance)| {
        let mac = mac(n).map(|byte| format!("{byte:02x}")).join(":");
        format!("neighbour add {instance} lladdr {mac} dev {far} nud permanent")
    });
    host.ip([
        format!("address add 10.0.0.2/24 dev {far}"),
        format!("route add default via 10.0.0.1 dev {far}"),
    ]
    .into_iter()
    .chain(neighbours))?;
    nft(host, &dnat("10.0.0.5", 443, &instances), folder)
}
