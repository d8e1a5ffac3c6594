//! The one that takes over.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    process,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt},
        time::TimeVal,
    },
};

use super::{Error, Message, VERSION, hear, is_trusted, say};
use crate::proxy::{
    bind::{Address, Listener},
    course::Drain,
    tls::Secret,
};

/// It answers at once, unless its host is very busy.
const PATIENCE: i64 = 20;

/// A running proxy, and what it has handed over. Dropped before [`Predecessor::serving`], it goes on as before.
#[derive(Debug)]
pub struct Predecessor {
    socket: OwnedFd,
    /// On what it has changed on this host.
    pub lock: OwnedFd,
    /// Open, and served by it still.
    pub listeners: Vec<Listener>,
    /// Of its clients' sessions.
    pub tickets: Vec<Secret>,
    /// Where it stands.
    pub drain: Drain,
}

/// Asks the proxy that listens at `path` to hand over. None: none does.
///
/// # Errors
/// It does not, or is a stranger's.
pub fn ask(path: &Path) -> Result<Option<Predecessor>, Error> {
    let failed = |source: Errno| Error::Socket { path: path.to_owned(), source: source.into() };
    let socket =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path).map_err(failed)?) {
        Ok(()) => {}
        // One that was killed leaves its name behind.
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    is_trusted(&socket)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0)).map_err(failed)?;
    say(&socket, &Message::Hello { version: VERSION, pid: process::id() }, &[])?;
    let (Message::Offer { listeners: count, tickets, drain }, with) = hear(&socket)? else {
        return Err(Error::Strange);
    };
    let lock = with.into_iter().next().ok_or(Error::Strange)?;
    let mut listeners = Vec::with_capacity(count);
    while listeners.len() < count {
        let (Message::Listeners(doors), with) = hear(&socket)? else { return Err(Error::Strange) };
        if doors.is_empty() || doors.len() != with.len() {
            return Err(Error::Strange);
        }
        for (door, descriptor) in doors.into_iter().zip(with) {
            let socket = TcpListener::from(descriptor);
            let address = Address { door, socket: socket.local_addr().map_err(Error::Gone)? };
            listeners.push(Listener { address, socket });
        }
    }
    Ok(Some(Predecessor { socket, lock, listeners, tickets, drain }))
}

impl Predecessor {
    /// This process serves. Returns once the other one accepts no more.
    ///
    /// # Errors
    /// It has gone, or has given up waiting: then all of this is its own still, and this process has to end.
    pub fn serving(self) -> Result<(), Error> {
        say(&self.socket, &Message::Serving, &[])?;
        match hear(&self.socket)? {
            (Message::Left, _) => Ok(()),
            _ => Err(Error::Gone(io::ErrorKind::InvalidData.into())),
        }
    }
}
