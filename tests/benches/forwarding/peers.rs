//! What gateway is compared with.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::ensure;
use lab::{
    host::{self, Host},
    process::Process,
    wait,
};

use crate::{
    core,
    stage::{Pair, mac_text},
    targets::mac,
};

/// The VIP's rule of nftables: an instance by the flow's hash, written into the destination (`dnat`), with the kernel's table of
/// connections behind it.
fn dnat(vip: &str, port: u16, instances: &[&str]) -> String {
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
fn nft(host: &Host, rules: &str, folder: &Path) -> anyhow::Result<()> {
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
        format!("neighbour add {instance} lladdr {} dev {far} nud permanent", mac_text(mac(n)))
    });
    host.ip([
        format!("address add 10.0.0.2/24 dev {far}"),
        format!("route add default via 10.0.0.1 dev {far}"),
    ]
    .into_iter()
    .chain(neighbours))?;
    nft(host, &dnat("10.0.0.5", 443, &instances), folder)
}

/// A router that sends the VIP's connections to a server on the same link, in its own name: else the server would answer the
/// client itself.
pub(crate) fn nftables_nat(
    host: &Host,
    vip: Ipv4Addr,
    server: Ipv4Addr,
    folder: &Path,
) -> anyhow::Result<()> {
    host.sysctl("net/ipv4/ip_forward", "1")?;
    let rules = dnat(&vip.to_string(), 443, &[&server.to_string()]);
    let masquerade = format!(
        "table ip bench {{
            chain leaving {{
                type nat hook postrouting priority srcnat
                ip daddr {server} masquerade
            }}
        }}"
    );
    nft(host, &format!("{rules}\n{masquerade}\n"), folder)
}

/// HAProxy between two TCP connections, on the one core like everybody else.
pub(crate) fn haproxy(
    host: &Host,
    listen: SocketAddr,
    server: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Process> {
    let file = folder.join("haproxy.cfg");
    let config = format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen bench
    bind {listen}
    server one {server}
"
    );
    fs::write(&file, config)?;
    let line =
        format!("chrt --fifo 1 taskset --cpu-list {} haproxy -db -f {}", core::number(), file.display());
    let process = host.spawn(host::command(&line))?;
    let listens =
        wait::eventually(Duration::from_secs(10), || host.enter(|| TcpStream::connect(listen).is_ok()));
    ensure!(listens, "HAProxy does not listen:\n{}", process.stderr());
    Ok(process)
}
