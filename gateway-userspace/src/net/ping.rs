//! One echo request of a given size that may not be cut (RFC 792, RFC 4443).

use std::{
    io::{self, Read as _},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use gateway_ebpf::checksum;
use socket2::{Domain, Protocol, Socket, Type};

const HEADER: usize = 8;
const QUESTIONS: u16 = 2;

/// Whether a packet of so many bytes, IP header included, is answered within the patience for it.
///
/// # Errors
/// No CAP_NET_RAW; there is no route.
pub fn is_answered(to: IpAddr, bytes: usize, patience: Duration) -> io::Result<bool> {
    let (domain, protocol, ip, request, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 20, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 40, 128, 129),
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    forbid_cuts(&socket, to.is_ipv4())?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    let mut message = vec![0; bytes.saturating_sub(ip).max(HEADER)];
    message[0] = request;
    let id = (std::process::id() as u16 ^ bytes as u16).to_be_bytes();
    message[4..6].copy_from_slice(&id);
    for n in 0..QUESTIONS {
        message[6..8].copy_from_slice(&n.to_be_bytes());
        if to.is_ipv4() {
            message[2..4].fill(0);
            let sum = checksum::of_bytes(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        match socket.send(&message) {
            // This host itself knows of a smaller MTU.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Ok(false),
            sent => sent?,
        };
        if hears(&mut socket, (reply, id), to.is_ipv4(), Instant::now() + patience / u32::from(QUESTIONS))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn hears(socket: &mut Socket, (reply, id): (u8, [u8; 2]), is_v4: bool, end: Instant) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            // An ICMP error about an earlier one.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EHOSTUNREACH)) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        // Of IPv4 the header is there too.
        let start = if is_v4 { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
        let message = buffer.get(start..length).unwrap_or_default();
        if message.first() == Some(&reply) && message.get(4..6) == Some(&id) {
            return Ok(true);
        }
    }
}

/// Nor may what this host has learned of the way keep the packet from being sent.
fn forbid_cuts(socket: &Socket, is_v4: bool) -> io::Result<()> {
    let (level, option, value) = match is_v4 {
        true => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        false => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    let value = MaybeUninit::new(value);
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads an int, which lives until it returns.
    let outcome =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn r62_a_packet_that_a_link_on_the_way_drops_is_not_answered() {
        let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
        here.connect("eth0", &there, "peer");
        there.run(async |netlink| {
            let link = netlink.link("peer").await.unwrap();
            netlink.add_subnet(link.index, "10.0.0.5", 24).await;
            netlink.add_subnet(link.index, "fd00:0:0:1::5", 64).await;
        });
        here.run(async |netlink| {
            let link = netlink.link("eth0").await.unwrap();
            netlink.add_subnet(link.index, "10.0.0.2", 24).await;
            netlink.add_subnet(link.index, "fd00:0:0:1::2", 64).await;
            for to in ["10.0.0.5", "fd00:0:0:1::5"] {
                let is_answered =
                    |bytes| is_answered(to.parse().unwrap(), bytes, Duration::from_secs(4)).unwrap();
                assert_eq!([100, 1500, 1501].map(is_answered), [true, true, false], "{to}");
            }
        });
    }
}
