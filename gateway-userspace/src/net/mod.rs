//! This host's network as the kernel has it, and the changes the gateway makes to it: links, addresses, routes,
//! neighbours, system settings. Every change is undone at the end, after a crash by the next start
//! ([`changes`]).

pub mod address;
pub mod ask;
pub mod changes;
pub mod claim;
pub mod descriptors;
pub mod ethtool;
pub mod events;
mod frames;
mod journal;
pub mod link;
pub mod loopback;
pub mod namespace;
pub mod neighbour;
mod packet;
pub mod ping;
pub mod reply;
pub mod route;
pub mod router;
pub mod sockets;
pub(crate) mod sysctl;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rtnetlink::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::plan::Mac;

/// What failed on this host's network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses for want of a capability.
    #[error(
        "cannot {action}: this needs {capability}; run as root, or give it with `AmbientCapabilities={capability}` in \
         the unit or `setcap`"
    )]
    Privilege {
        /// What was tried, on what.
        action: String,
        /// The capability's name.
        capability: &'static str,
        /// EPERM or EACCES.
        source: io::Error,
    },
    /// The kernel refuses for another reason.
    #[error("cannot {action}")]
    Kernel {
        /// What was tried, on what.
        action: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file in which changes are noted cannot be used.
    #[error(
        "cannot open {path}, where changes are noted so that they can be undone after a crash; run as root, or in a unit \
         with `RuntimeDirectory=gateway`"
    )]
    Journal {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No interface of that name.
    #[error("there is no interface {name}; this host has {present}")]
    NoInterface {
        /// As configured.
        name: String,
        /// Those that could be meant.
        present: String,
    },
    /// This is not the instance's host.
    #[error(
        "none of the instance's addresses ({dip}) is on this host; add one to an interface (`ip address add`), or \
         choose the instance that runs here"
    )]
    NotThisInstance {
        /// The instance's addresses.
        dip: String,
    },
    /// No route to `balancer.address`.
    #[error(
        "there is no route to the balancer {address}, through which replies have to go with forwarding = \"nat\"; add \
         one (`ip route add`), or correct balancer.address"
    )]
    NoBalancer {
        /// The balancer's.
        address: IpAddr,
    },
    /// Not an Ethernet interface.
    #[error("{name} has no Ethernet address; VIPs and instances need an Ethernet interface")]
    NoMac {
        /// The interface.
        name: String,
    },
    /// Duplicate-address detection found another host.
    #[error("{ip} is already used on {interface} by {by}; stop that host or choose another VIP")]
    InUse {
        /// The VIP.
        ip: IpAddr,
        /// Where it was to be claimed.
        interface: String,
        /// Its MAC, as far as it is known.
        by: String,
    },
    /// The kernel has not come to a verdict.
    #[error(
        "duplicate-address detection for {ip} on {interface} has not ended within {} s; see that the interface has a \
         carrier (`ip link show {interface}`)",
        waited.as_secs()
    )]
    Undecided {
        /// The VIP.
        ip: IpAddr,
        /// Where it was to be claimed.
        interface: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The interface takes no IPv6 addresses.
    #[error(
        "cannot add {ip} to {interface}: IPv6 is switched off there; write 0 to \
         /proc/sys/net/ipv6/conf/{interface}/disable_ipv6, or leave IPv6 VIPs out"
    )]
    Ipv6Off {
        /// The VIP.
        ip: IpAddr,
        /// Where it was to be added.
        interface: String,
    },
    /// Events of the network can no longer be received.
    #[error("the kernel's network events have broken off; start again")]
    EventsEnded,
    /// The same role is running in this network namespace.
    #[error("another `gateway {role}` is running on this host; stop it first (it holds {path})")]
    Running {
        /// `balance` or `proxy`.
        role: &'static str,
        /// The locked file.
        path: String,
    },
}

impl Error {
    /// Names the capability where the kernel asks for one.
    fn refused(action: impl Into<String>, capability: &'static str, source: io::Error) -> Self {
        let action = action.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Privilege { action, capability, source }
        } else {
            Self::Kernel { action, source }
        }
    }

    /// For requests over netlink, which says EPERM for want of CAP_NET_ADMIN, and EACCES for other reasons.
    fn netlink(action: impl Into<String>, source: io::Error) -> Self {
        let action = action.into();
        if source.raw_os_error() == Some(libc::EPERM) {
            Self::Privilege { action, capability: "CAP_NET_ADMIN", source }
        } else {
            Self::Kernel { action, source }
        }
    }
}

/// The errno in an answer, so that callers can tell "exists" from "not permitted".
fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

/// `02:00:00:00:00:01`
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A route netlink socket of this thread's network namespace. One that broke is replaced by another for the next request.
#[derive(Debug)]
pub struct Netlink(Mutex<Socket>);

/// Its driver is a task of the current runtime.
#[derive(Debug)]
struct Socket {
    handle: Handle,
    driver: AbortOnDropHandle<()>,
}

impl Netlink {
    /// Opens the socket; this needs no privileges.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Mutex::new(Socket::open()?)))
    }

    /// By which requests are made.
    fn handle(&self) -> Handle {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends where the kernel has no memory for what is sent, and never otherwise.
        if socket.driver.is_finished() {
            match Socket::open() {
                Ok(next) => *socket = next,
                Err(error) => log::error!("{:#}", anyhow::Error::from(error)),
            }
        }
        socket.handle.clone()
    }
}

impl Socket {
    fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| Error::Kernel { action: "open a netlink socket".into(), source })?;
        Ok(Self { handle, driver: AbortOnDropHandle::new(tokio::spawn(connection)) })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Namespace;

    #[test]
    fn a_socket_that_broke_is_replaced() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            netlink.add_pair("eth0", "peer").await;
            let ended = {
                let socket = netlink.0.lock().unwrap();
                socket.driver.abort();
                socket.driver.abort_handle()
            };
            while !ended.is_finished() {
                tokio::task::yield_now().await;
            }
            assert!(netlink.links().await.unwrap().iter().any(|link| link.name == "eth0"));
        });
    }
}
