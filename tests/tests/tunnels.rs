//! Real traffic through the forwarding modes that put something around a packet.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::IpAddr;

use lab::{
    address::{PRIVATE, PRIVATE6},
    config::default_host,
    curl::Curl,
    lab::Lab,
    service::{self, Sunk},
};

const BYTES: u64 = 20_000_000;

/// 20 MB there and back, over both families, through two instances.
fn carries(mode: &str) {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config();
    config.balancer.forwarding = mode.to_owned();
    let running = lab.start(&config).unwrap();
    let body = (0..BYTES).map(service::pattern).collect::<Vec<_>>();
    let file = lab.folder().join("body");
    std::fs::write(&file, &body).unwrap();
    let name = default_host("gateway");
    for vip in [IpAddr::from(PRIVATE), PRIVATE6.into()] {
        for client in [&lab.hosts.client, &lab.hosts.routed] {
            let upload = ["--data-binary".to_owned(), format!("@{}", file.display())];
            let sent = Curl::https(&lab, &name, vip, "/sink").with(upload).send(client).unwrap();
            assert_eq!(
                sent.status,
                200,
                "{mode} {vip} {}: {sent:?}\n{}",
                client.name(),
                running.balancer.log()
            );
            let sunk: Sunk = serde_json::from_slice(&sent.body).unwrap();
            assert_eq!(sunk, Sunk { bytes: BYTES, fingerprint: service::fingerprint(&body) });
            let got = Curl::https(&lab, &name, vip, &format!("/bytes/{BYTES}")).send(client).unwrap();
            assert!(got.body == body, "{mode} {vip}: {} bytes, exit {}", got.body.len(), got.exit);
        }
    }
    for instance in &lab.hosts.instances {
        // Of nstat's lines: name, count, rate.
        let shown = instance.must("nstat -asz TcpInCsumErrors").unwrap();
        let line = shown.lines().find(|line| line.starts_with("TcpInCsumErrors")).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some("0"), "{line}");
        assert!(instance.must("ip link show dev eth0").unwrap().contains("xdp"));
    }
    for (_, proxy) in running.proxies {
        proxy.stop().unwrap();
    }
    for instance in &lab.hosts.instances {
        assert!(!instance.must("ip link show dev eth0").unwrap().contains("xdp"), "{}", instance.name());
    }
}

#[test]
fn r11_ipip_carries_20_mb_both_ways() {
    carries("ipip");
}

#[test]
fn r11_gue_carries_20_mb_both_ways() {
    carries("gue");
}
