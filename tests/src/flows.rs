//! Many connections, and who served them.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, bail};

use crate::{address::Station, curl::Curl, host::Host, lab::Lab, service::Seen};

/// Flows by instance's name; what no instance's DIP explains is under the peer's address.
pub type Spread = BTreeMap<String, usize>;

/// Opens `count` connections to a VIP one after the other, one request on each, and counts which instance served them:
/// the service tells whose connection it saw, and a proxy connects from its DIP.
///
/// # Errors
/// A request that no service of the lab answered.
pub fn spread(
    lab: &Lab,
    from: &Host,
    host: &str,
    vip: IpAddr,
    port: u16,
    count: usize,
) -> anyhow::Result<Spread> {
    // One curl that closes after each: a client that is real and does not cost a process for each connection. HTTP/2 has no
    // such field, and would stay on one.
    let at = std::net::SocketAddr::new(vip, port);
    let path = format!("/flow/[1-{count}]");
    let curl = Curl::new(lab, "https", host, at, &path).with([
        "--http1.1",
        "--header",
        "Connection: close",
        "--fail",
    ]);
    let output = from.run_command(curl.command())?;
    if !output.ok() {
        bail!("{}: {}", output.status, output.stderr.trim());
    }
    let mut spread = Spread::new();
    let text = output.text();
    for line in text.lines() {
        let seen: Seen =
            serde_json::from_str(line).with_context(|| format!("no service answered this: {line}"))?;
        *spread.entry(instance_of(lab, seen.peer)).or_default() += 1;
    }
    let answered = spread.values().sum::<usize>();
    if answered != count {
        bail!("{answered} of {count} connections were answered");
    }
    Ok(spread)
}

/// Which instance has that DIP.
pub fn instance_of(lab: &Lab, dip: IpAddr) -> String {
    let named = (1..).map(Station::instance).zip(&lab.hosts.instances);
    let found = named.into_iter().find(|(station, _)| station.addresses().contains(&dip));
    found.map_or_else(|| dip.to_string(), |(_, host)| host.name().to_owned())
}
