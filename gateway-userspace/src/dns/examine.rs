//! Asks servers for the names, as clients do, and has [`super::check`] judge what they say.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, bail};
use hickory_proto::rr::{RData, RecordType};

use super::{
    Records, Serial,
    answer::Transport,
    check::{self, Check, Heard, Known, Report},
    client::{Failure, ask},
};
use crate::{
    model::{DNS_PORT, Model},
    near,
};

/// Where the system's resolvers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What stands in the place of a wildcard's asterisk.
const STAND_IN: &str = "gateway-dns-check";

/// Asks each of the servers, without any those of the system, for all names or one of them.
///
/// # Errors
/// There is no such name, or the system names no server.
pub fn examine(
    model: &Model,
    records: &Records,
    servers: &[SocketAddr],
    name: Option<&str>,
) -> anyhow::Result<Report> {
    let servers = if servers.is_empty() { system_servers()? } else { servers.to_vec() };
    let names = names(records, name)?;
    let expected: BTreeSet<IpAddr> = records.addresses().collect();
    let mut checks = Vec::new();
    for server in servers {
        let asker = Asker { server, model, expected: &expected, serial: records.serial };
        checks.extend(asker.ask_for(&names));
    }
    Ok(Report::new(&expected, records.serial, checks))
}

/// As on the command line: an address, and a port where it is another one.
///
/// # Errors
/// It is neither.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| "an IP address, or one with a port".to_owned())
}

fn system_servers() -> anyhow::Result<Vec<SocketAddr>> {
    let text = fs::read_to_string(RESOLV_CONF)
        .with_context(|| format!("cannot read {RESOLV_CONF}; name servers by `--server`"))?;
    let servers = listed(&text);
    if servers.is_empty() {
        bail!("{RESOLV_CONF} names no server; name some by `--server`");
    }
    Ok(servers)
}

/// The `nameserver` lines of a resolv.conf(5).
fn listed(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter_map(|words| match words[..] {
            ["nameserver", address, ..] => Some(SocketAddr::new(address.parse().ok()?, DNS_PORT)),
            _ => None,
        })
        .collect()
}

fn names(records: &Records, only: Option<&str>) -> anyhow::Result<Vec<String>> {
    let all: Vec<_> = records.names.iter().map(|named| named.host.with_label(STAND_IN)).collect();
    match only.map(|name| name.trim_end_matches('.').to_ascii_lowercase()) {
        None => Ok(all),
        Some(name) if all.contains(&name) => Ok(vec![name]),
        Some(name) => {
            bail!(near::none_such("name", &name, &all.iter().map(String::as_str).collect::<Vec<_>>()))
        }
    }
}

struct Asker<'a> {
    server: SocketAddr,
    model: &'a Model,
    expected: &'a BTreeSet<IpAddr>,
    serial: Serial,
}

impl Asker<'_> {
    /// Who does not answer for the first name is not waited for with the others.
    fn ask_for(&self, names: &[String]) -> Vec<Check> {
        let mut silent = false;
        let mut checks = Vec::new();
        for name in names {
            let known = if silent { self.nothing() } else { self.known(name) };
            silent = known.udp.is_none() && known.tcp.is_none();
            let (state, remedy) = check::judge(&known);
            let heard = known.udp.or(known.tcp);
            checks.push(Check {
                name: name.clone(),
                server: self.server.to_string(),
                state,
                addresses: heard.map_or_else(Vec::new, |heard| heard.addresses.into_iter().collect()),
                remedy,
            });
        }
        checks
    }

    fn nothing(&self) -> Known<'_> {
        Known {
            expected: self.expected,
            serial: self.serial,
            udp: None,
            tcp: None,
            zone: None,
            instances_are_right: false,
            is_ours: self.is_ours(),
        }
    }

    fn is_ours(&self) -> bool {
        self.model.vip.all().any(|vip| vip == self.server.ip())
    }

    fn known(&self, name: &str) -> Known<'_> {
        let heard = |transport| addresses(self.server, name, transport).ok();
        let (udp, tcp) = (heard(Transport::Udp), heard(Transport::Tcp));
        let is_right =
            |heard: &Option<Heard>| heard.as_ref().is_none_or(|heard| heard.addresses == *self.expected);
        let is_odd = !is_right(&udp) || !is_right(&tcp);
        Known {
            zone: is_odd.then(|| zone_serial(self.server, name)).flatten(),
            instances_are_right: is_odd && !self.is_ours() && self.instances_are_right(name),
            udp,
            tcp,
            ..self.nothing()
        }
    }

    /// What the instances say themselves, through the balancer.
    fn instances_are_right(&self, name: &str) -> bool {
        let vips = self.model.vip.private.iter().filter(|_| self.model.dns.serve);
        let said =
            vips.filter_map(|vip| addresses(SocketAddr::new(*vip, DNS_PORT), name, Transport::Udp).ok());
        said.take(1).any(|heard| heard.addresses == *self.expected)
    }
}

/// Both kinds of address.
fn addresses(server: SocketAddr, name: &str, transport: Transport) -> Result<Heard, Failure> {
    let kinds = [RecordType::A, RecordType::AAAA];
    let answers: Vec<_> =
        kinds.into_iter().map(|kind| ask(server, name, kind, transport)).collect::<Result<_, _>>()?;
    Ok(Heard::of(&answers))
}

/// The serial number of the zone of exactly that name.
fn zone_serial(server: SocketAddr, name: &str) -> Option<Serial> {
    let answer = ask(server, name, RecordType::SOA, Transport::Udp).ok()?;
    let own = answer.queries.first()?.name().clone();
    let soa = answer.answers.iter().find(|record| record.name == own)?;
    match &soa.data {
        RData::SOA(soa) => Some(Serial(soa.serial)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_system_does() {
        let text = "# nameserver 192.0.2.1\nsearch contoso.com\nnameserver 10.0.0.2\nnameserver fd00::2\nnameserver nonsense\n";
        let found: Vec<_> = listed(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "[fd00::2]:53"]);
        assert_eq!(server("10.0.0.2:5353").unwrap().to_string(), "10.0.0.2:5353");
        assert!(server("ns.contoso.com").is_err());
    }
}
