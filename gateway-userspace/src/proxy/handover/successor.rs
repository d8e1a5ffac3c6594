//! The one that hands over.

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};
use tokio::{net::UnixListener, sync::oneshot, time::sleep};

use super::{Error, Message, VERSION, hear, is_trusted, say};
use crate::{
    net::descriptors,
    proxy::{bind::Address, course::Drain, routes::Door, tls::Secret},
};

/// From the offer until the successor serves: it binds, reads certificates, attaches a program.
const PATIENCE: i64 = 60;

/// Out of descriptors: to ask again at once would only spin.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Where successors ask. The name goes with it, unless a successor has it now.
#[derive(Debug)]
pub struct Successors {
    /// Of messages and not of a stream, which makes no difference to accepting.
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// What is handed over: copies, so that the process goes on with its own.
#[derive(Debug)]
pub struct Offered {
    /// On what this process has changed on the host.
    pub lock: OwnedFd,
    /// Every one.
    pub listeners: Vec<(Address, TcpListener)>,
    /// Of clients' sessions.
    pub tickets: Vec<Secret>,
    /// Where it stands.
    pub drain: Drain,
}

/// A process that wants to take over.
#[derive(Debug)]
pub struct Asked(OwnedFd);

/// A successor that serves.
#[derive(Debug)]
pub struct Gone {
    socket: OwnedFd,
    /// Its process.
    pub pid: u32,
}

impl Successors {
    /// Listens at `path`, also where a predecessor still does: who asks from now on is answered here.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn listen(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Socket { path: path.to_owned(), source };
        let socket = named(path).map_err(failed)?;
        let inode = fs::metadata(path).map_err(failed)?.ino();
        let socket = UnixListener::from_std(socket.into()).map_err(failed)?;
        Ok(Self { socket, path: path.to_owned(), inode })
    }

    /// The next one that asks and may. Safe to drop half-way.
    pub async fn next(&self) -> Asked {
        loop {
            // An error is of no use to anybody here: whoever asks is told by the end of the connection.
            let Ok((stream, _)) = self.socket.accept().await else {
                sleep(EXHAUSTED).await;
                continue;
            };
            let blocking = stream.into_std().and_then(|stream| {
                stream.set_nonblocking(false)?;
                Ok(OwnedFd::from(stream))
            });
            let Ok(asked) = blocking else { continue };
            match is_trusted(&asked) {
                Ok(()) => return Asked(asked),
                Err(error) => log::warn!("nothing is handed over: {error}"),
            }
        }
    }
}

/// Put in place whole, so that there is never a moment without it.
fn named(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind(socket.as_raw_fd(), &UnixAddr::new(&new)?)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    listen(&socket, Backlog::new(4).unwrap_or(Backlog::MAXCONN))?;
    fs::rename(&new, path)?;
    Ok(socket)
}

impl Drop for Successors {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

impl Asked {
    /// Offers all to it, in a thread of its own, and says when it serves.
    pub fn offer(self, offered: Offered) -> oneshot::Receiver<Result<Gone, Error>> {
        let (tell, told) = oneshot::channel();
        thread::spawn(move || {
            // Nobody listens only where this process ends.
            let _ = tell.send(offer(self.0, &offered));
        });
        told
    }
}

impl From<OwnedFd> for Asked {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

fn offer(socket: OwnedFd, offered: &Offered) -> Result<Gone, Error> {
    let patience = TimeVal::new(PATIENCE, 0);
    let failed = |error: Errno| Error::Gone(error.into());
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience).map_err(failed)?;
    setsockopt(&socket, sockopt::SendTimeout, &patience).map_err(failed)?;
    let Message::Hello { version: VERSION, pid } = hear(&socket)?.0 else { return Err(Error::Strange) };
    let Offered { lock, listeners, tickets, drain } = offered;
    let message = Message::Offer { listeners: listeners.len(), tickets: tickets.clone(), drain: *drain };
    say(&socket, &message, &[lock.as_fd()])?;
    for some in listeners.chunks(descriptors::MOST) {
        let doors: Vec<Door> = some.iter().map(|(address, _)| address.door).collect();
        let with: Vec<BorrowedFd<'_>> = some.iter().map(|(_, listener)| listener.as_fd()).collect();
        say(&socket, &Message::Listeners(doors), &with)?;
    }
    match hear(&socket)?.0 {
        Message::Serving => Ok(Gone { socket, pid }),
        _ => Err(Error::Strange),
    }
}

impl Gone {
    /// This process accepts no more.
    ///
    /// # Errors
    /// The successor is gone.
    pub fn left(&self) -> Result<(), Error> {
        say(&self.socket, &Message::Left, &[])
    }
}
