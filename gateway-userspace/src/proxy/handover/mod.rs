//! From one `gateway proxy` to the next, while clients are served: its listening sockets, of which a copy keeps what waits in
//! their queues; the lock on what it changed on this host; the keys of session tickets; a drain that is on.
//!
//! ```text
//! successor                        predecessor
//!    │ Hello ───────────────────────► │   goes on serving
//!    │ ◄───── Offer, lock; Listeners… │
//!    │ serves too                     │
//!    │ Serving ─────────────────────► │   accepts no more, tells the service manager
//!    │ ◄───────────────────────── Left│   lets its connections end
//! ```
//! If the successor dies before it serves, the predecessor goes on as if nothing had been.

mod predecessor;
mod successor;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    sys::socket::{getsockopt, sockopt},
    unistd::geteuid,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    predecessor::{Predecessor, ask},
    successor::{Asked, Gone, Offered, Successors},
};
use super::{course::Drain, routes::Door, tls::Secret};
use crate::net::{descriptors, namespace};

/// Of what is said here; a process of another one is not taken over from.
const VERSION: u32 = 1;

/// More than any message: the names of 253 listeners.
const MOST: usize = 64 * 1024;

/// What goes over the socket, each with its descriptors.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Hello { version: u32, pid: u32 },
    Offer { listeners: usize, tickets: Vec<Secret>, drain: Drain },
    Listeners(Vec<Door>),
    Serving,
    Left,
}

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made or reached.
    #[error("cannot use {path}, by which one proxy takes over from another")]
    Socket {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The namespace cannot be told.
    #[error(transparent)]
    Net(#[from] crate::net::Error),
    /// The other end is gone or silent.
    #[error("the other proxy is gone, or does not answer")]
    Gone(#[source] io::Error),
    /// Not the same user's.
    #[error("the other end is of user {uid}: only this user and root may hand over")]
    Stranger {
        /// Whose it is.
        uid: u32,
    },
    /// What came is not what is said here.
    #[error("the other proxy is of a release with which this one cannot hand over; restart it")]
    Strange,
}

/// Where an instance's running proxy is asked. A name in /run, since abstract ones belong to a network namespace.
///
/// # Errors
/// The kernel does not tell the namespace.
pub fn path(instance: &str) -> Result<PathBuf, Error> {
    let name = namespace::scoped(&format!("proxy-{instance}"))?;
    Ok(Path::new("/run/gateway").join(format!("{name}.sock")))
}

/// Of the same user or of root.
fn is_trusted(socket: &OwnedFd) -> Result<(), Error> {
    let uid = getsockopt(socket, sockopt::PeerCredentials).map_err(|e| Error::Gone(e.into()))?.uid();
    if uid == 0 || uid == geteuid().as_raw() { Ok(()) } else { Err(Error::Stranger { uid }) }
}

fn say(socket: &OwnedFd, message: &Message, with: &[BorrowedFd<'_>]) -> Result<(), Error> {
    let text = serde_json::to_vec(message).map_err(|_| Error::Strange)?;
    descriptors::send(socket.as_fd(), &text, with).map_err(Error::Gone)
}

fn hear(socket: &OwnedFd) -> Result<(Message, Vec<OwnedFd>), Error> {
    let (text, with) = descriptors::receive(socket.as_fd(), MOST).map_err(Error::Gone)?;
    if text.is_empty() {
        return Err(Error::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok((parse(&text)?, with))
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|_| Error::Strange)
}

#[cfg(test)]
mod tests;
