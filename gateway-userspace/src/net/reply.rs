//! The replies of an instance with `nat`: they have to go back through the balancer, which puts the VIP in their source
//! again, also those to clients on the instance's own link. So the ports that stand for a VIP's have a routing table of
//! their own: `ip rule add from DIP ipproto tcp sport 10443 table 3443`.
//!
//! The sockets have a mark besides, with a rule of its own. Where a path is narrow, Linux looks up without ports which route
//! is to remember it (`build_sk_flow_key` in net/ipv4/route.c, 6.18): by ports alone it would be a route that the flow does not
//! take, and what is too big would be sent again for ever.

use std::{collections::BTreeSet, net::IpAddr};

use rtnetlink::packet_route::{
    AddressFamily, IpProtocol,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange},
};

use super::{
    Error, Netlink,
    address::{host_prefix_len, is_gone},
    changes::Changes,
    route::Way,
    to_io,
};

/// The number of the table, and the priority of the rules: behind the local table (0), before the main one (32766).
const TABLE: u32 = 3443;

/// Of the sockets that listen on the ports that stand for a VIP's; those of their connections inherit it (SO_MARK, socket(7)).
pub const MARK: u32 = TABLE;

/// What leaves from one of an instance's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    /// The DIP.
    pub from: IpAddr,
    /// The ports that stand for a VIP's.
    pub ports: BTreeSet<u16>,
    /// The balancer, an address of the same family.
    pub through: IpAddr,
}

/// Has the kernel send them through the balancer, until the changes are undone. A balancer behind a router is left to
/// that router, and one on this very host needs nothing.
///
/// # Errors
/// There is no way to the balancer; somebody else uses the table; no CAP_NET_ADMIN.
pub(super) async fn send_back(
    changes: &mut Changes,
    netlink: &Netlink,
    replies: &Replies,
) -> Result<(), Error> {
    let through = replies.through;
    let link = match netlink.way_to(through).await? {
        Way::Local => return Ok(()),
        Way::None => return Err(Error::NoBalancer { address: through }),
        Way::Out(route) => match route.gateway {
            None => route.link,
            Some(router) => {
                log::warn!(
                    "the balancer {through} is behind the router {router}, which has to send it what comes from TCP ports \
                     {:?} of {}",
                    replies.ports,
                    replies.from
                );
                return Ok(());
            }
        },
    };
    changes.add_route_back(netlink, link, through).await?;
    let ports = replies.ports.iter().copied().map(Some);
    for port in ports.chain([None]) {
        changes.add_reply_rule(netlink, replies.from, port).await?;
    }
    Ok(())
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The default route of [`TABLE`].
fn route(link: u32, through: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(through);
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.flags = RouteFlags::Onlink;
    message.attributes = vec![
        RouteAttribute::Table(TABLE),
        RouteAttribute::Gateway(through.into()),
        RouteAttribute::Oif(link),
    ];
    message
}

/// Of a port, or of marked sockets.
fn rule(from: IpAddr, port: Option<u16>) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(from);
    message.header.src_len = host_prefix_len(from);
    message.header.action = RuleAction::ToTable;
    message.attributes =
        vec![RuleAttribute::Priority(TABLE), RuleAttribute::Table(TABLE), RuleAttribute::Source(from)];
    match port {
        Some(port) => message.attributes.extend([
            RuleAttribute::IpProtocol(IpProtocol::Tcp),
            RuleAttribute::SourcePortRange(RulePortRange { start: port, end: port }),
        ]),
        // Of datagrams too: those of the DNS have no rule of their own.
        None => message.attributes.push(RuleAttribute::FwMark(MARK)),
    }
    message
}

/// What a rule is of, for people.
fn what(port: Option<u16>) -> String {
    port.map_or_else(|| format!("with mark {MARK}"), |port| format!("port {port}"))
}

impl Netlink {
    pub(super) async fn add_route_back(&self, link: u32, through: IpAddr) -> Result<(), Error> {
        let request = self.handle().route().add(route(link, through));
        let action =
            || format!("add a default route via {through} to table {TABLE}, which has to be unused before");
        request.execute().await.map_err(|e| Error::netlink(action(), to_io(e)))
    }

    /// Adds it once more if it is gone, as it is after its interface was down. True if it was.
    pub(super) async fn restore_route_back(&self, link: u32, through: IpAddr) -> Result<bool, Error> {
        match self.handle().route().add(route(link, through)).execute().await.map_err(to_io) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            // It is down still, or its address is not back yet.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENETDOWN | libc::ENETUNREACH | libc::EINVAL)) => {
                Ok(false)
            }
            Err(e) => Err(Error::netlink(format!("restore the route via {through} in table {TABLE}"), e)),
        }
    }

    /// It is no error if it or its interface is gone.
    pub(super) async fn remove_route_back(&self, link: u32, through: IpAddr) -> Result<(), Error> {
        match self.handle().route().del(route(link, through)).execute().await.map_err(to_io) {
            Ok(()) => Ok(()),
            Err(e) if is_gone(&e) || e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            Err(e) => Err(Error::netlink(format!("remove the route via {through} from table {TABLE}"), e)),
        }
    }

    pub(super) async fn add_reply_rule(&self, from: IpAddr, port: Option<u16>) -> Result<(), Error> {
        let mut request = self.handle().rule().add();
        *request.message_mut() = rule(from, port);
        let action =
            || format!("add a rule that sends what comes from {from} {} by table {TABLE}", what(port));
        request.execute().await.map_err(|e| Error::netlink(action(), to_io(e)))
    }

    /// It is no error if it is gone.
    pub(super) async fn remove_reply_rule(&self, from: IpAddr, port: Option<u16>) -> Result<(), Error> {
        match self.handle().rule().del(rule(from, port)).execute().await.map_err(to_io) {
            Ok(()) => Ok(()),
            Err(e) if is_gone(&e) => Ok(()),
            Err(e) => Err(Error::netlink(format!("remove the rule for {from} {}", what(port)), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;
    use crate::net::{changes::Role, testing::Namespace};

    const DIPS: [&str; 2] = ["10.0.0.11", "fd00:0:0:1::11"];
    const BALANCERS: [&str; 2] = ["10.0.0.2", "fd00:0:0:1::2"];
    const CLIENTS: [&str; 2] = ["10.0.0.20", "fd00:0:0:1::20"];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Both families of an instance on eth0.
    async fn instance(netlink: &Netlink) {
        let (link, _) = netlink.add_pair("eth0", "peer").await;
        netlink.add_subnet(link.index, DIPS[0], 24).await;
        netlink.add_subnet(link.index, DIPS[1], 64).await;
    }

    /// The next hop of TCP from a port of the instance to the client of its family.
    async fn next_hop(netlink: &Netlink, family: usize, port: u16) -> Option<IpAddr> {
        hop_of(netlink, family, [RouteAttribute::Sport(port), RouteAttribute::Dport(50_000)]).await
    }

    async fn hop_of(
        netlink: &Netlink,
        family: usize,
        flow: impl IntoIterator<Item = RouteAttribute>,
    ) -> Option<IpAddr> {
        let (from, to) = (ip(DIPS[family]), ip(CLIENTS[family]));
        let mut message = RouteMessage::default();
        message.header.address_family = super::family(from);
        message.header.source_prefix_length = host_prefix_len(from);
        message.header.destination_prefix_length = host_prefix_len(to);
        message.attributes = vec![
            RouteAttribute::Source(from.into()),
            RouteAttribute::Destination(to.into()),
            RouteAttribute::IpProto(libc::IPPROTO_TCP as u8),
        ];
        message.attributes.extend(flow);
        let answer = netlink.handle().route().get(message).execute().try_next().await.unwrap().unwrap();
        match Way::parse(&answer) {
            Way::Out(route) => route.gateway,
            other => panic!("{other:?}"),
        }
    }

    /// What the kernel looks up for a marked socket when its path turns out to be narrow.
    async fn without_ports(netlink: &Netlink, family: usize) -> Option<IpAddr> {
        hop_of(netlink, family, [RouteAttribute::Mark(MARK)]).await
    }

    /// The same for a datagram.
    async fn of_a_datagram(netlink: &Netlink, family: usize) -> Option<IpAddr> {
        let udp = RouteAttribute::IpProto(libc::IPPROTO_UDP as u8);
        hop_of(netlink, family, [RouteAttribute::Mark(MARK), udp]).await
    }

    fn replies(family: usize) -> Replies {
        Replies {
            from: ip(DIPS[family]),
            ports: BTreeSet::from([10_443, 23_443]),
            through: ip(BALANCERS[family]),
        }
    }

    #[test]
    fn what_leaves_from_a_vips_port_goes_through_the_balancer_and_nothing_else() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            for family in [0, 1] {
                send_back(&mut changes, netlink, &replies(family)).await.unwrap();
                assert_eq!(next_hop(netlink, family, 10_443).await, Some(ip(BALANCERS[family])));
                assert_eq!(next_hop(netlink, family, 23_443).await, Some(ip(BALANCERS[family])));
                assert_eq!(next_hop(netlink, family, 8080).await, None, "a probe's answer");
                assert_eq!(without_ports(netlink, family).await, Some(ip(BALANCERS[family])));
                assert_eq!(of_a_datagram(netlink, family).await, Some(ip(BALANCERS[family])));
            }
            changes.undo(netlink).await.unwrap();
            for family in [0, 1] {
                assert_eq!(next_hop(netlink, family, 10_443).await, None);
                assert_eq!(without_ports(netlink, family).await, None);
            }
            // All of it is gone, so it can be made again.
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            send_back(&mut changes, netlink, &replies(0)).await.unwrap();
            changes.undo(netlink).await.unwrap();
        });
    }

    #[test]
    fn the_way_back_is_there_again_after_the_interface_was_down() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            send_back(&mut changes, netlink, &replies(0)).await.unwrap();
            netlink.set_down("eth0").await;
            changes.restore_routes_back(netlink).await.unwrap();
            netlink.set_up("eth0").await;
            assert_eq!(next_hop(netlink, 0, 10_443).await, None, "the kernel has dropped it");
            for _ in 0..2 {
                changes.restore_routes_back(netlink).await.unwrap();
                assert_eq!(next_hop(netlink, 0, 10_443).await, Some(ip(BALANCERS[0])));
            }
            changes.undo(netlink).await.unwrap();
            assert_eq!(next_hop(netlink, 0, 10_443).await, None);
        });
    }

    #[test]
    fn what_a_killed_instance_left_is_undone_by_the_next() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            send_back(&mut changes, netlink, &replies(1)).await.unwrap();
            changes.abandon();
            let changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            assert_eq!(next_hop(netlink, 1, 10_443).await, None);
            changes.undo(netlink).await.unwrap();
        });
    }

    #[test]
    fn a_table_that_somebody_uses_is_left_alone() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let link = netlink.link("eth0").await.unwrap().index;
            netlink.add_route_back(link, ip("10.0.0.3")).await.unwrap();
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            let error = send_back(&mut changes, netlink, &replies(0)).await.unwrap_err();
            assert!(error.to_string().contains("table 3443"), "{error}");
            changes.undo(netlink).await.unwrap();
            netlink.remove_route_back(link, ip("10.0.0.3")).await.unwrap();
        });
    }

    #[test]
    fn a_balancer_on_this_host_or_behind_a_router_needs_nothing_here_and_one_without_a_way_is_an_error() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            instance(netlink).await;
            let mut changes = Changes::begin(netlink, Role::Proxy).await.unwrap();
            let through = |text: &str| Replies { through: ip(text), ..replies(0) };
            let error = send_back(&mut changes, netlink, &through("10.8.0.2")).await.unwrap_err();
            assert!(matches!(error, Error::NoBalancer { .. }), "{error}");
            netlink.add_default_route("10.0.0.254".parse().unwrap()).await;
            for elsewhere in ["10.8.0.2", DIPS[0]] {
                send_back(&mut changes, netlink, &through(elsewhere)).await.unwrap();
                assert_eq!(next_hop(netlink, 0, 10_443).await, None);
            }
            changes.undo(netlink).await.unwrap();
        });
    }
}
