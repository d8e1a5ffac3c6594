//! A host that routes what comes by some of its interfaces: with `nat` the balancer is the instances' way back, and
//! replies whose next hop the program does not know go up the host's own stack, from a VIP as their source.

use super::{Error, changes::Changes, link::Link, sysctl};

/// An address family whose packets are routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Has the host route packets of those families that come by `interfaces`, also those from its own addresses. `links`
/// are all interfaces of the host. Undone with the other changes.
///
/// # Errors
/// No CAP_NET_ADMIN; the kernel has no such setting.
pub fn route_replies(
    changes: &mut Changes,
    interfaces: &[Link],
    links: &[Link],
    families: &[Family],
) -> Result<(), Error> {
    for family in families {
        match family {
            Family::V4 => interfaces.iter().try_for_each(|link| ipv4(changes, link))?,
            Family::V6 => ipv6(changes, links)?,
        }
    }
    Ok(())
}

/// Forwarding is decided by the interface that a packet comes by (`IN_DEV_FORWARD` in `ip_route_input_slow`), so the
/// host's other interfaces are left alone.
fn ipv4(changes: &mut Changes, link: &Link) -> Result<(), Error> {
    let setting = |key| sysctl::ipv4_conf(&link.name, key);
    changes.set(&setting("forwarding"), "1", &["1"])?;
    // Packets from our own addresses are martians otherwise (`__fib_validate_source`).
    changes.set(&setting("accept_local"), "1", &["1"])?;
    // The way to a VIP is not the interface that its replies come by, where there are two: strict validation drops them.
    // The greater of `all` and the interface's own value counts.
    if [sysctl::ipv4_conf("all", "rp_filter"), setting("rp_filter")].iter().any(|path| strict(path)) {
        changes.set(&setting("rp_filter"), "2", &["2"])?;
    }
    Ok(())
}

fn strict(path: &std::path::Path) -> bool {
    sysctl::read(path).is_ok_and(|value| value == "1")
}

/// IPv6 is forwarded by all interfaces or by none (`ip6_forward` asks `all` alone). A router does not listen to routers,
/// so interfaces that do would lose their default route: 2 has them go on.
fn ipv6(changes: &mut Changes, links: &[Link]) -> Result<(), Error> {
    for link in links.iter().filter(|link| link.name != "lo") {
        let setting = |key| sysctl::ipv6_conf(&link.name, key);
        // Where IPv6 is switched off at boot there is none.
        let Ok(listens) = sysctl::read(&setting("accept_ra")) else { continue };
        if listens == "1" && sysctl::read(&setting("forwarding"))? == "0" {
            changes.set(&setting("accept_ra"), "2", &["2"])?;
        }
    }
    changes.set(&sysctl::ipv6_conf("all", "forwarding"), "1", &["1"])
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::net::{changes::Role, testing::Namespace};

    /// The values that this module may change.
    fn settings() -> Vec<String> {
        let v4 =
            ["eth0/forwarding", "eth0/accept_local", "eth0/rp_filter", "eth1/forwarding", "all/forwarding"];
        let v6 = ["all/forwarding", "eth0/accept_ra", "eth1/accept_ra"];
        let read = |family: &str, key: &str| {
            std::fs::read_to_string(format!("/proc/sys/net/{family}/conf/{key}")).unwrap().trim().to_owned()
        };
        v4.map(|key| read("ipv4", key)).into_iter().chain(v6.map(|key| read("ipv6", key))).collect()
    }

    #[test]
    fn one_interface_routes_and_all_is_put_back() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "eth1").await;
            sysctl::write(&sysctl::ipv4_conf("eth0", "rp_filter"), "1").unwrap();
            sysctl::write(&sysctl::ipv6_conf("eth1", "accept_ra"), "0").unwrap();
            let before = settings();
            assert_eq!(before, ["0", "0", "1", "0", "0", "0", "1", "0"]);
            let links = netlink.links().await.unwrap();
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            for _ in 0..2 {
                route_replies(&mut changes, slice::from_ref(&link), &links, &[Family::V4, Family::V6])
                    .unwrap();
                assert_eq!(settings(), ["1", "1", "2", "0", "0", "1", "2", "0"]);
            }
            changes.undo(netlink).await.unwrap();
            assert_eq!(settings(), before);
        });
    }

    #[test]
    fn a_family_that_no_vip_has_is_left_alone() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "eth1").await;
            let links = netlink.links().await.unwrap();
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            route_replies(&mut changes, &[link], &links, &[Family::V4]).unwrap();
            let [.., v6, _, _] = &settings()[..] else { panic!("settings") };
            assert_eq!(v6, "0");
            changes.undo(netlink).await.unwrap();
        });
    }
}
