//! Whole Ethernet frames on a host's interface, past its network stack.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::{
        socket::{
            self, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, setsockopt, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

use crate::host::Host;

/// Room for what comes faster than it is read: frames of a whole test.
const RECEIVE_BUFFER: usize = 64 << 20;
/// PACKET_IGNORE_OUTGOING of linux/if_packet.h (Linux 4.20), which libc does not have.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// A packet socket on one interface (packet(7)).
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens `interface` of `host`. From now on arriving frames are kept until they are read; frames that the host sends are
    /// not seen.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn open(host: &Host, interface: &str) -> anyhow::Result<Self> {
        host.enter(|| Self::open_here(interface)).with_context(|| format!("{interface} of {}", host.name()))
    }

    fn open_here(interface: &str) -> anyhow::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        // Protocol 0 hears nothing until bind: frames of other interfaces would come before it otherwise.
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        ignore_outgoing(&socket)?;
        socket::bind(socket.as_raw_fd(), &link(index)?)?;
        Ok(Self { socket })
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// Longer than the interface takes, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        loop {
            match socket::send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                // The queue is full; it drains by itself.
                Err(Errno::ENOBUFS | Errno::EINTR) => std::thread::yield_now(),
                sent => return sent.map(drop).with_context(|| format!("cannot send {} bytes", frame.len())),
            }
        }
    }

    /// The next frame that `wanted` takes, if one comes before `deadline` has passed; others are thrown away.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn receive<T>(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let end = Instant::now() + deadline;
        let mut frame = vec![0; 1 << 16];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Zero would mean for ever.
            let left = TimeVal::microseconds(i64::try_from(left.as_micros())?.max(1));
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &left)?;
            match socket::recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(found) = wanted(&frame[..length]) {
                        return Ok(Some(found));
                    }
                }
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(Errno::EAGAIN) if Instant::now() >= end => return Ok(None),
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }

    /// Every frame that has arrived and that `wanted` takes; does not wait.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn arrived<T>(&self, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        let mut frame = vec![0; 1 << 16];
        loop {
            match socket::recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => all.extend(wanted(&frame[..length])),
                Err(Errno::EAGAIN) => return Ok(all),
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }
}

fn ignore_outgoing(socket: &OwnedFd) -> io::Result<()> {
    let yes: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is an int that lives over the call, and its length is given right.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            std::ptr::from_ref(&yes).cast(),
            length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Every protocol on one interface, for bind.
fn link(index: libc::c_uint) -> anyhow::Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a whole sockaddr_ll with its family set, and the length is its size.
    let link = unsafe { LinkAddr::from_raw(std::ptr::from_ref(&address).cast(), Some(length)) };
    link.context("no address for the interface")
}
