//! A balancer with more instances than hosts: one host stands for them all.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use lab::{
    address::{Station, mac_text},
    config::{Config, Instance},
    gateway::Gateway,
    lab::Lab,
};

/// Where their addresses are from, on the balancer's link.
const SUBNET: &str = "10.64.0.0/16";

/// The n-th instance's address.
pub(crate) fn dip(n: u16) -> Ipv4Addr {
    let [high, low] = (n + 1).to_be_bytes();
    Ipv4Addr::new(10, 64, high, low)
}

/// A lab whose one instance's host has the addresses of all, and whose balancer knows their way.
pub(crate) fn lab(count: u16) -> anyhow::Result<Lab> {
    let lab = Lab::raise(1)?;
    let mac = mac_text(Station::instance(1).mac());
    lab.hosts.balancer.ip([format!("route add {SUBNET} dev eth0")])?;
    // Resolved once and for all: what is measured is not ARP.
    lab.hosts
        .balancer
        .ip((0..count).map(|n| format!("neigh add {} lladdr {mac} dev eth0 nud permanent", dip(n))))?;
    let host = lab.hosts.instances.first().context("a lab with one instance")?;
    // One host, all addresses of the subnet.
    host.ip([format!("route add local {SUBNET} dev lo")])?;
    Ok(lab)
}

/// The lab's file with that many instances.
pub(crate) fn config(lab: &Lab, count: u16, admin_state: &str) -> Config {
    let mut config = lab.config();
    config.network.subnet.push(SUBNET.to_owned());
    config.vip.private.retain(IpAddr::is_ipv4);
    config.vip.public.retain(IpAddr::is_ipv4);
    config.balancer.address.retain(IpAddr::is_ipv4);
    config.instance = (0..count)
        .map(|n| Instance {
            name: format!("gw-{n}"),
            dip: vec![dip(n).into()],
            admin_state: admin_state.to_owned(),
            ..Instance::nth(1)
        })
        .collect();
    config
}

/// The balancer at work.
pub(crate) fn balancer(lab: &Lab, config: &Config) -> anyhow::Result<Gateway> {
    lab.balance(&lab.write(config)?)
}
