//! Clients that reach the endpoints by name, with the hosts block and with the private VIP as their name server (R51).

use std::{fs, net::IpAddr, path::Path};

use lab::{
    address::{PRIVATE, PRIVATE6},
    host::Host,
    lab::{Lab, Running},
    process::Output,
};

use super::{names, printed};

fn up() -> (Lab, Running) {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config().answering_dns()).unwrap();
    (lab, running)
}

/// Runs a shell's line on a host that sees `file` in place of `there`: in a mount namespace of its own.
pub(crate) fn with_file(host: &Host, file: &Path, there: &str, line: &str) -> Output {
    let mut command = std::process::Command::new("unshare");
    let inside = format!("mount --bind {} {there} && {line}", file.display());
    command.args(["--mount", "sh", "-ec", &inside]);
    host.run_command(command).unwrap()
}

/// What the C library finds for a name.
fn addresses(output: &Output) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> =
        output.text().lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Every name is found by the C library, and answers curl.
fn reaches_all(lab: &Lab, host: &Host, file: &Path, there: &str) {
    for name in names() {
        let found = addresses(&with_file(host, file, there, &format!("getent ahosts {name}")));
        assert_eq!(found, [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)], "{} {name}", host.name());
        for family in ["-4", "-6"] {
            let root = lab.authority.root();
            let curl = format!(
                "curl --silent --show-error --max-time 10 {family} --cacert {} https://{name}/",
                root.display()
            );
            let output = with_file(host, file, there, &curl);
            assert!(output.ok() && output.text().contains("\"service\""), "{name} {family}: {output:?}");
        }
    }
}

#[test]
fn r51_with_the_hosts_block_clients_reach_all_endpoints() {
    let (lab, _running) = up();
    let file = lab.folder().join("hosts");
    let block = printed(&lab, "hosts");
    assert_eq!(block.lines().filter(|line| !line.starts_with('#')).count(), 2 * names().len());
    fs::write(&file, format!("127.0.0.1 localhost\n{block}")).unwrap();
    for host in [&lab.hosts.client, &lab.hosts.routed] {
        reaches_all(&lab, host, &file, "/etc/hosts");
    }
}

#[test]
fn r51_r52_with_the_private_vip_as_name_server_clients_reach_all_endpoints() {
    let (lab, _running) = up();
    for vip in [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)] {
        let file = lab.folder().join("resolv.conf");
        fs::write(&file, format!("nameserver {vip}\n")).unwrap();
        reaches_all(&lab, &lab.hosts.client, &file, "/etc/resolv.conf");
    }
}
