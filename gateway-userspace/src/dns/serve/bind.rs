//! The sockets that datagrams come to.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// For questions that come faster than they are read; the kernel cuts it at net.core.rmem_max.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Fails where another process has the port. With SO_REUSEPORT it would silently share the questions with it.
///
/// # Errors
/// It is taken, or not this host's, or may not be opened.
pub fn alone(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

/// A socket of several that the kernel gives the questions to. What it sends has `mark`.
///
/// # Errors
/// As [`alone`].
pub fn shared(address: SocketAddr, mark: Option<u32>) -> io::Result<UdpSocket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        // A VIP may still be tentative: duplicate-address detection takes a second.
        socket.set_freebind_v6(true)?;
    }
    Ok(socket)
}
