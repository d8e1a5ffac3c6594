//! The first file. Pure.

use std::net::IpAddr;

use anyhow::bail;
use ipnet::IpNet;

use super::ask::{Found, Own};

/// Routers mostly have the first addresses of a subnet.
const FIRST: usize = 5;
/// Of a subnet's addresses, how many are looked at.
const LOOKED_AT: usize = 4_096;

/// Its text.
pub(super) fn file(service: &str, found: &Found) -> anyhow::Result<String> {
    let Found { interface, driver, mtu, own, .. } = found;
    let mut vips = Vec::new();
    for Own { subnet, .. } in own {
        let Some(vip) = free(*subnet, &found.taken) else {
            bail!(
                "{subnet}, the subnet of {interface}, has no address left for a VIP; --interface names another one"
            );
        };
        vips.push(vip);
    }
    let (subnets, dips) = (list(own.iter().map(|one| one.subnet)), list(own.iter().map(|one| one.ip)));
    let vips = list(vips);
    let driver = driver.as_ref().map_or_else(String::new, |driver| format!("driver {driver}, "));
    Ok(format!(
        r#"# Made by `gateway init`. `gateway check` says what it means and what is wrong with it, `gateway config show` every default,
# `gateway help balancer.drain` what a key is for.

[service]
name = "{service}"
# suffix = "azure-api.net"            # of the default names: {service}.azure-api.net, {service}.portal.azure-api.net …
# mode = "internal"                   # or "external": everybody reaches the public VIP; "none": no VIPs at all

[network]
subnet = {subnets}      # of {interface}: VIPs and instances have addresses from here
# vnet = ["10.0.0.0/16"]              # more networks that count as inside
# peered = ["10.8.0.0/16"]            # connected networks, VPN: inside too

[vip]
private = {vips}      # nobody's, as far as this host knows; `gateway balance` asks the link before it takes it
# public = ["203.0.113.5"]            # has to be routed onto this link; 3443 of it for the role management

[balancer]
interface = "{interface}"      # {driver}MTU {mtu}
# forwarding = "l2"                   # all instances on this link; "ipip", "gue", "nat" cross routers, and need `address`
# address = {dips}

[[instance]]
name = "gw-1"                         # this host
dip = {dips}

# [[instance]]
# name = "gw-2"
# dip = ["10.0.0.12"]

# A name and where it leads. Without one the service answers to nothing (C061).
# [[endpoint]]
# role = "gateway"                    # or portal, developer, management, scm
# hosts = ["api.contoso.com"]         # beside the default name
# certificate = {{ chain = "tls/api.pem", key = "tls/api.key" }}
# routes = [{{ path = "/", upstream = ["http://10.0.1.20:8080"] }}]
"#
    ))
}

/// An address of the subnet that nobody is known to have.
fn free(subnet: IpNet, taken: &[IpAddr]) -> Option<IpAddr> {
    let is_host = |ip: &IpAddr| *ip != subnet.network() && *ip != subnet.broadcast();
    let hosts = || subnet.hosts().take(LOOKED_AT).filter(is_host).filter(|ip| !taken.contains(ip));
    hosts().nth(FIRST - 1).or_else(|| hosts().last())
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| format!("\"{}\"", item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn found(addresses: &[&str]) -> Found {
        let own = |text: &&str| {
            let net: IpNet = text.parse().unwrap();
            Own { ip: net.addr(), subnet: net.trunc() }
        };
        let own: Vec<_> = addresses.iter().map(own).collect();
        let taken = own.iter().map(|one| one.ip).chain(["10.0.0.1".parse().unwrap()]).collect();
        Found { interface: "eth0".into(), driver: Some("virtio_net".into()), mtu: 1500, own, taken }
    }

    #[test]
    fn check_passes_it_and_misses_but_an_endpoint() {
        for addresses in [&["10.0.0.2/24"][..], &["10.0.0.2/24", "fd00::2/64"], &["fd00::2/64"]] {
            let text = file("contoso", &found(addresses)).unwrap();
            let model = config::parse(text.clone(), Path::new("gateway.toml"), Path::new("")).unwrap();
            assert_eq!(model.instances.len(), 1);
            assert_eq!(model.vip.private.len(), addresses.len(), "{text}");
            assert!(text.contains("# driver virtio_net, MTU 1500\n"), "{text}");
        }
    }

    #[test]
    fn a_vip_is_an_address_that_nobody_has() {
        let first = |subnet: &str, taken: &[&str]| {
            let taken: Vec<IpAddr> = taken.iter().map(|ip| ip.parse().unwrap()).collect();
            free(subnet.parse().unwrap(), &taken).map(|ip| ip.to_string())
        };
        assert_eq!(first("10.0.0.0/24", &[]).as_deref(), Some("10.0.0.5"));
        assert_eq!(first("10.0.0.0/24", &["10.0.0.5"]).as_deref(), Some("10.0.0.6"));
        assert_eq!(first("10.0.0.0/30", &["10.0.0.1"]).as_deref(), Some("10.0.0.2"));
        assert_eq!(first("10.0.0.0/30", &["10.0.0.1", "10.0.0.2"]), None);
        assert_eq!(first("fd00::/64", &["fd00::5"]).as_deref(), Some("fd00::6"));
    }

    #[test]
    fn a_subnet_without_room_is_refused() {
        let error = file("contoso", &found(&["10.0.0.2/30"])).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/30") && error.contains("--interface"), "{error}");
    }
}
