//! This host's TCP connections as the kernel has them, by sock_diag(7): no privileges are needed for one's own namespace.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
    },
    time::TimeVal,
};

use super::Error;

/// A TCP socket that has a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
}

/// A TCP socket that waits for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Where; `0.0.0.0` and `::` are all addresses.
    pub at: SocketAddr,
    /// By which its process is found: `socket:[inode]` among its descriptors.
    pub inode: u64,
}

// From include/uapi/linux/{netlink,sock_diag,inet_diag}.h and include/net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`
const REQUEST: usize = 56;
/// `struct inet_diag_msg`: family, state, timer, retransmits, then the socket's id, of which a place is the offset.
const ID: usize = 4;
const LOCAL_PORT: usize = ID;
const PEER_PORT: usize = ID + 2;
const LOCAL: usize = ID + 4;
const PEER: usize = ID + 20;
const INODE: usize = ID + 64;
/// Every state but CLOSE (7) and LISTEN (10): half-open (3, 12) and TIME_WAIT (6) too.
const CONNECTED: u32 = 0x1ffe & !(1 << 7 | 1 << 10);
const LISTENING: u32 = 1 << 10;
/// What the kernel fills at once at most.
const BUFFER: usize = 32 * 1024;
/// The kernel answers at once; so this is for a kernel that does not.
const PATIENCE: i64 = 5;

/// All TCP connections of this thread's network namespace, half-open ones and those in TIME_WAIT included. It blocks for as long as
/// the kernel takes, about a millisecond for a thousand of them.
///
/// # Errors
/// The kernel has no tcp_diag.
pub fn connections() -> Result<Vec<Connection>, Error> {
    all(CONNECTED, connection)
}

/// All TCP sockets of this thread's network namespace that listen.
///
/// # Errors
/// As [`connections`].
pub fn listeners() -> Result<Vec<Listening>, Error> {
    all(LISTENING, listening)
}

/// Makes something of a message's body.
type Read<T> = fn(&[u8]) -> Option<T>;

fn all<T>(states: u32, read: Read<T>) -> Result<Vec<T>, Error> {
    let failed = |source: io::Error| Error::Kernel {
        action: "list this host's connections (is the kernel's tcp_diag there?)".into(),
        source,
    };
    let socket = open().map_err(failed)?;
    let mut all = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(&socket, (family as u8, states), read, &mut all).map_err(failed)?;
    }
    Ok(all)
}

fn open() -> io::Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
    Ok(socket)
}

fn dump<T>(socket: &OwnedFd, of: (u8, u32), one: Read<T>, all: &mut Vec<T>) -> io::Result<()> {
    send(socket.as_raw_fd(), &request(of), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if read(&buffer[..count], one, all)? {
            return Ok(());
        }
    }
}

fn request((family, states): (u8, u32)) -> [u8; HEADER + REQUEST] {
    let mut request = [0; HEADER + REQUEST];
    request[..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_AND_DUMP.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = libc::IPPROTO_TCP as u8;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Reads the messages of a datagram. True: these were the last.
fn read<T>(mut datagram: &[u8], one: Read<T>, all: &mut Vec<T>) -> io::Result<bool> {
    while let Some(header) = datagram.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = datagram.get(HEADER..length) else { return Err(io::ErrorKind::InvalidData.into()) };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let number = body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return Err(io::Error::from_raw_os_error(-number));
            }
            SOCK_DIAG_BY_FAMILY => all.extend(one(body)),
            _ => {}
        }
        // Messages begin at multiples of four.
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn connection(body: &[u8]) -> Option<Connection> {
    Some(Connection { local: end(body, LOCAL, LOCAL_PORT)?, peer: end(body, PEER, PEER_PORT)? })
}

fn listening(body: &[u8]) -> Option<Listening> {
    let inode = u32::from_ne_bytes(*body.get(INODE..)?.first_chunk()?);
    Some(Listening { at: end(body, LOCAL, LOCAL_PORT)?, inode: inode.into() })
}

fn end(body: &[u8], address: usize, port: usize) -> Option<SocketAddr> {
    let ip = match i32::from(*body.first()?) {
        libc::AF_INET => Ipv4Addr::from(*body.get(address..)?.first_chunk::<4>()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*body.get(address..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*body.get(port..)?.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn connections_in_every_state_but_listen_are_seen_over_both_families() {
        for ip in ["127.0.0.1", "::1"] {
            let Some(namespace) = Namespace::new() else { return };
            namespace.run(async |netlink| {
                netlink.set_up("lo").await;
                let listener = TcpListener::bind((ip, 0)).unwrap();
                assert_eq!(connections().unwrap(), [], "of {ip} there is only a listener");
                let open = listeners().unwrap();
                assert!(open.len() == 1 && open[0].at == listener.local_addr().unwrap(), "{open:?}");
                let mut files = std::fs::read_dir("/proc/thread-self/fd").unwrap().flatten();
                let name = format!("socket:[{}]", open[0].inode);
                assert!(files.any(|file| {
                    std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == name.as_str())
                }));
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let ends =
                    Connection { local: listener.local_addr().unwrap(), peer: client.local_addr().unwrap() };
                assert!(connections().unwrap().contains(&ends), "not accepted yet: {ends:?}");
                // The server's end first, so that it is its end that waits then.
                drop(listener.accept().unwrap());
                drop(client);
                let now = || connections().unwrap();
                let waits = (0..1000).any(|_| now() == [ends]);
                assert!(waits, "in TIME_WAIT: {:?}", now());
            });
        }
    }

    #[test]
    fn what_is_cut_short_is_no_connection() {
        let mut all = Vec::new();
        assert!(read(&[1, 0, 0, 0], connection, &mut all).is_ok_and(|done| !done));
        let mut header = [0; HEADER];
        header[0] = 200;
        read(&header, connection, &mut all).unwrap_err();
        header[0] = 4;
        read(&header, connection, &mut all).unwrap_err();
        assert_eq!((connection(&[2; 20]), all.len()), (None, 0));
    }
}
