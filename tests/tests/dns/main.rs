//! The names in the DNS: R3 and R50 to R54, with real resolvers and name servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod check;
mod formats;
mod forward;
mod hosts;
mod limits;
mod modes;
mod serve;

use std::net::IpAddr;

use lab::{
    address::{PRIVATE, PRIVATE6},
    config::default_host,
    gateway::gateway,
    host::Host,
    lab::{Lab, ROLES},
    process::Output,
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];

/// Default and custom, as the lab's file has them.
fn names() -> Vec<String> {
    ROLES.into_iter().map(default_host).chain(["api.contoso.com".to_owned()]).collect()
}

/// `gateway dns …` on a host, with the lab's file.
fn gateway_dns(lab: &Lab, host: &Host, words: &str) -> Output {
    let mut command = gateway("dns").unwrap();
    command.args(words.split_whitespace()).arg("--config").arg(lab.folder().join("gateway.toml"));
    host.run_command(command).unwrap()
}

/// The same, and what it printed.
fn printed(lab: &Lab, words: &str) -> String {
    let output = gateway_dns(lab, &lab.hosts.client, words);
    assert!(output.ok(), "{words}: {}", output.stderr);
    output.text()
}
