//! Whole Ethernet frames in and out of one interface.

use std::io::Read;

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Error, link::Link};

/// Which frames a socket receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EtherType {
    Arp,
    Ipv6,
}

impl EtherType {
    fn to_be(self) -> u16 {
        let number = match self {
            Self::Arp => libc::ETH_P_ARP,
            Self::Ipv6 => libc::ETH_P_IPV6,
        };
        (number as u16).to_be()
    }
}

/// An AF_PACKET socket bound to one interface. It does not see the frames it sends.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: AsyncFd<Socket>,
    name: String,
}

impl PacketSocket {
    pub(super) fn open(link: &Link, ether_type: EtherType) -> Result<Self, Error> {
        let open = || -> std::io::Result<_> {
            // Without a protocol it receives nothing before it is bound: no frame of another interface.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&link_address(link, ether_type.to_be()))?;
            // SAFETY: a Socket owns one descriptor, gives that one always, and closes it when it is dropped.
            let registered = unsafe { AsyncFd::register(socket) };
            Ok(registered?)
        };
        let name = link.name.clone();
        let socket = open()
            .map_err(|e| Error::refused(format!("open a packet socket on {name}"), "CAP_NET_RAW", e))?;
        Ok(Self { socket, name })
    }

    pub(super) async fn send(&self, frame: &[u8]) -> Result<(), Error> {
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await;
        sent.map(drop)
            .map_err(|source| Error::Kernel { action: format!("send a frame on {}", self.name), source })
    }

    /// The next frame, cut at `buffer`'s length.
    pub(super) async fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let received = self.socket.async_io(Interest::READABLE, |mut socket| socket.read(buffer)).await;
        let len = received
            .map_err(|source| Error::Kernel { action: format!("receive frames on {}", self.name), source })?;
        Ok(&buffer[..len])
    }
}

fn link_address(link: &Link, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is a socket address type, for which the storage is large and aligned enough; it is made of
    // integers, so all zeroes are a valid one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = link.index as i32;
    // SAFETY: the storage holds a sockaddr_ll, whose length this is.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
