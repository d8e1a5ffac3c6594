//! What changes on this host's network, as the kernel tells it.

use futures_util::{StreamExt, stream::BoxStream};
use rtnetlink::{MulticastGroup, packet_core::NetlinkPayload, packet_route::RouteNetlinkMessage};
use tokio::task::JoinHandle;

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
    /// An IPv6 address was added or changed its state.
    Address(Address),
    /// There were more events than the socket holds: read everything anew.
    Lost,
}

/// A subscription to the events of this thread's network namespace, from its opening on.
pub struct Events {
    messages: BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>,
    driver: JoinHandle<()>,
}

impl Events {
    /// Subscribes to links, neighbours and IPv6 addresses; this needs no privileges.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn subscribe() -> Result<Self, Error> {
        let groups = [MulticastGroup::Link, MulticastGroup::Neigh, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|source| Error::Kernel { action: "subscribe to network events".into(), source })?;
        let messages = messages.map(|(message, _)| message.payload).boxed();
        Ok(Self { messages, driver: tokio::spawn(connection) })
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

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn parse(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
            Neighbour::parse(message).map(Event::Neighbour)
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
        NetlinkPayload::Overrun(_) => Some(Event::Lost),
        _ => None,
    }
}
