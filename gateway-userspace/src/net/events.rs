//! What changes on this host's network, as the kernel tells it.

use futures_util::{StreamExt, stream::BoxStream};
use rtnetlink::{MulticastGroup, packet_core::NetlinkPayload, packet_route::RouteNetlinkMessage};
use tokio_util::task::AbortOnDropHandle;

use super::{Error, address::Address, link::Link, neighbour::Neighbour};

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An entry was added or changed.
    Neighbour(Neighbour),
    /// An interface was added or changed.
    Link(Link),
    /// The interface of this index is gone.
    LinkGone(u32),
    /// An entry is gone; its MAC is the last one.
    NeighbourGone(Neighbour),
    /// An address was added or changed its state.
    Address(Address),
    /// What routes depend on has changed: routes, rules, or an address that is gone.
    Routes,
    /// There were more events than the socket holds: read everything anew.
    Lost,
}

/// A subscription to the events of this thread's network namespace, from its opening on.
pub struct Events {
    messages: BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>,
    _driver: AbortOnDropHandle<()>,
}

impl Events {
    /// Subscribes to links, neighbours, addresses, routes and rules; this needs no privileges.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn subscribe() -> Result<Self, Error> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|source| Error::Kernel { action: "subscribe to network events".into(), source })?;
        let messages = messages.map(|(message, _)| message.payload).boxed();
        Ok(Self { messages, _driver: AbortOnDropHandle::new(tokio::spawn(connection)) })
    }

    /// The next event; None if the subscription has broken. Safe to drop half-way: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = parse(&self.messages.next().await?) {
                return Some(event);
            }
        }
    }
}

fn parse(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
            Neighbour::parse(message).map(Event::Neighbour)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
            Neighbour::parse(message).map(Event::NeighbourGone)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
            Some(Event::Link(Link::parse(message)))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
            Some(Event::LinkGone(message.header.index))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            Address::parse(message).map(Event::Address)
        }
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::DelAddress(_)
            | RouteNetlinkMessage::NewRoute(_)
            | RouteNetlinkMessage::DelRoute(_)
            | RouteNetlinkMessage::NewRule(_)
            | RouteNetlinkMessage::DelRule(_),
        ) => Some(Event::Routes),
        NetlinkPayload::Overrun(_) => Some(Event::Lost),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn routes_and_addresses_are_told_of() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            let mut events = Events::subscribe().unwrap();
            let mut told = async |wanted: fn(&Event) -> bool| {
                let told = async { while !wanted(&events.next().await.unwrap()) {} };
                timeout(Duration::from_secs(5), told).await.expect("no event told of it");
            };
            netlink.add_subnet(link.index, "10.0.0.1", 24).await;
            told(|event| matches!(event, Event::Address(address) if address.ip.is_ipv4())).await;
            told(|event| *event == Event::Routes).await;
            netlink.add_default_route("10.0.0.254".parse().unwrap()).await;
            told(|event| *event == Event::Routes).await;
        });
    }
}
