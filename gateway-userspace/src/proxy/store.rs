//! Listening sockets in the service manager's keeping (sd_notify(3), `FDSTORE=1`): what waits in their queues outlives a crash.
//!
//! A socket is stored by a name that says what is served there and where: `https@10.0.0.5@443`. A colon is not allowed in it.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::process::parent_id,
    },
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sd_notify::NotifyState;

use super::{
    bind::{Address, Listener},
    routes::Door,
};
use crate::{net::descriptors::MOST, service_manager};

/// The process that `gateway run` starts us from: it cannot know our number beforehand, as `LISTEN_PID` wants it.
pub const SUPERVISOR: &str = "GATEWAY_SUPERVISOR";

/// What a process that is started by this one must not take for its own.
/// Without `WATCHDOG_PID` the watchdog is the successor's.
pub const ENVIRONMENT: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];

/// The first of the descriptors that a service manager hands over.
const FIRST: i32 = 3;

/// Whether `gateway run` watches over this process.
pub fn is_supervised() -> bool {
    env::var(SUPERVISOR).is_ok_and(|parent| parent.parse() == Ok(parent_id()))
}

/// Whether a service manager keeps sockets while this service is started again. systemd says so from 254 on.
pub fn is_kept() -> bool {
    env::var("FDSTORE").is_ok_and(|most| most.parse::<u32>().is_ok_and(|most| most > 0))
}

/// What a predecessor had stored. What is no listener of ours is closed.
pub fn inherited() -> Vec<Listener> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let is_for_us = number("LISTEN_PID").map_or_else(is_supervised, |pid| pid == std::process::id());
    let Some(count) = number("LISTEN_FDS").filter(|_| is_for_us) else { return Vec::new() };
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let numbers = FIRST..FIRST.saturating_add(i32::try_from(count).unwrap_or_default());
    numbers
        .filter_map(|number| {
            let name = names.next();
            // SAFETY: the service manager says that this is one of those that it has opened for us; nothing of this process
            // has used it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
            listener(name?, descriptor)
        })
        .collect()
}

fn listener(name: &str, descriptor: OwnedFd) -> Option<Listener> {
    let door = door(name)?;
    let socket = TcpListener::from(descriptor);
    let address = Address { door, socket: socket.local_addr().ok()? };
    socket.set_nonblocking(true).ok()?;
    Some(Listener { address, socket })
}

/// Gives copies of all listeners to the service manager, where there is one; it keeps each once.
pub fn keep<'a>(listeners: impl IntoIterator<Item = &'a (Address, TcpListener)>) {
    let mut all: Vec<_> = listeners.into_iter().collect();
    all.sort_by_key(|(address, _)| address.socket);
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let name = name(same[0].0);
        for some in same.chunks(MOST) {
            let descriptors: Vec<_> = some.iter().map(|(_, listener)| listener.as_fd()).collect();
            let told =
                sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &descriptors);
            if let Err(error) = told {
                log::warn!("cannot give the service manager the sockets of {}: {error}", same[0].0);
            }
        }
    }
}

/// Has the service manager forget those of an address.
pub fn forget(address: Address) {
    service_manager::tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name(address))]);
}

fn name(Address { door, socket }: Address) -> String {
    let address = socket.ip().to_string().replace(':', "_");
    format!("{}@{address}@{}", word(door), SocketAddr::port(&socket))
}

const fn word(door: Door) -> &'static str {
    match door {
        Door::Https => "https",
        Door::Management => "management",
        Door::Redirect => "redirect",
        Door::Http => "http",
        Door::Dns => "dns",
        Door::Probe => "probe",
    }
}

fn door(name: &str) -> Option<Door> {
    let (first, _) = name.split_once('@')?;
    [Door::Https, Door::Management, Door::Redirect, Door::Http, Door::Dns, Door::Probe]
        .into_iter()
        .find(|door| word(*door) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_served_where_and_has_no_colon() {
        let address = |door, text: &str| Address { door, socket: text.parse().unwrap() };
        for (address, expected) in [
            (address(Door::Https, "10.0.0.5:443"), "https@10.0.0.5@443"),
            (address(Door::Probe, "[fd00:0:0:1::11]:8080"), "probe@fd00_0_0_1__11@8080"),
        ] {
            assert_eq!((name(address).as_str(), door(&name(address))), (expected, Some(address.door)));
        }
        assert_eq!((door("https"), door("ssh@10.0.0.5@22")), (None, None));
    }
}
