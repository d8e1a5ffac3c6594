//! How to go on by hand: lines to be pasted into another terminal.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{
    address::{PRIVATE, PUBLIC},
    config::default_host,
    curl::Curl,
    host::Host,
    lab::{Lab, Running},
};

use crate::exec;

/// The lines.
pub(super) fn show(lab: &Lab, running: &Running) -> Result<()> {
    println!("\nBy hand, from another terminal:");
    let at = |vip: IpAddr, port| SocketAddr::new(vip, port);
    let roles = [
        ("gateway", &lab.hosts.client, at(PRIVATE.into(), 443)),
        ("portal", &lab.hosts.routed, at(PRIVATE.into(), 443)),
    ];
    let outside = [
        ("management", &lab.hosts.outside, at(PUBLIC.into(), 3443)),
        ("gateway", &lab.hosts.outside, at(PUBLIC.into(), 3443)),
    ];
    for (role, from, at) in roles.into_iter().chain(outside) {
        println!("  # {} asks for the {role} role at {at}", from.name());
        println!(
            "  {}",
            inside(from, &exec::line(&Curl::new(lab, "https", &default_host(role), at, "/").command()))
        );
    }
    println!("  # the balancer's interface, its program and its addresses");
    println!("  {}", inside(&lab.hosts.balancer, "ip address show dev eth0"));
    println!("  # a new gateway.toml is taken up by");
    println!(
        "  $EDITOR {} && kill -HUP {}",
        lab.folder().join("gateway.toml").display(),
        running.balancer.id()
    );
    Ok(())
}

/// A host of the lab has no name under /run/netns: nothing of it can be left behind.
fn inside(host: &Host, line: &str) -> String {
    format!("nsenter --net={} {line}", host.path())
}
