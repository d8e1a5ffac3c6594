//! What a child tells its supervisor, by the same protocol as a service manager's (sd_notify(3)).

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    process,
};

use tokio::{io::Interest, net::UnixDatagram};

use super::store::Store;
use crate::net::descriptors;

/// A folder for the sockets that only this user can reach; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn create() -> io::Result<Self> {
        let path = Path::new("/run/gateway").join(format!("run-{}", process::id()));
        // One of an earlier process with this number that was killed.
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::create_dir_all("/run/gateway")?;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
        // It fails where something else is in it, which is the point.
        fs::remove_dir("/run/gateway").ok();
    }
}

/// Receives the messages of one child, and keeps what it stores.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    store: Store,
}

/// What concerns the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It works, or works again.
    Ready,
    /// It takes up its file, by whomever that was asked for.
    Reloading,
    /// Another process is the main one from now on.
    Main(u32),
}

impl NotifySocket {
    pub(super) fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        Ok(Self { socket: UnixDatagram::bind(&path)?, path, store: Store::default() })
    }

    /// For `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the child, or one before it, has stored.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Throws away what a process that has ended left unread, but for what it stored.
    pub(super) fn clear(&mut self) {
        while let Ok((message, descriptors)) =
            self.socket.try_io(Interest::READABLE, || receive(&self.socket))
        {
            self.store.take_up(&Message::parse(&message), descriptors);
        }
    }

    /// Waits until the child says something that concerns the supervisor. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> io::Result<Said> {
        loop {
            let (text, descriptors) =
                self.socket.async_io(Interest::READABLE, || receive(&self.socket)).await?;
            let message = Message::parse(&text);
            self.store.take_up(&message, descriptors);
            if let Some(pid) = message.main {
                return Ok(Said::Main(pid));
            }
            if message.reloading {
                return Ok(Said::Reloading);
            }
            if message.ready {
                return Ok(Said::Ready);
            }
        }
    }
}

/// Longer than any message of ours.
const LONGEST: usize = 4096;

fn receive(socket: &UnixDatagram) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    descriptors::receive(socket.as_fd(), LONGEST)
}

/// A message is lines of `KEY=value`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    ready: bool,
    reloading: bool,
    main: Option<u32>,
    pub(super) store: bool,
    pub(super) remove: bool,
    pub(super) name: Option<String>,
}

impl Message {
    fn parse(text: &[u8]) -> Self {
        let mut message = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => message.ready = true,
                Some(("RELOADING", "1")) => message.reloading = true,
                Some(("MAINPID", pid)) => message.main = pid.parse().ok(),
                Some(("FDSTORE", "1")) => message.store = true,
                Some(("FDSTOREREMOVE", "1")) => message.remove = true,
                Some(("FDNAME", name)) => message.name = Some(name.to_owned()),
                _ => {}
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_supervisor_is_read_and_the_rest_is_not() {
        let is_ready = |text: &[u8]| Message::parse(text).ready;
        assert!(is_ready(b"READY=1"));
        assert!(is_ready(b"STATUS=taken up\nREADY=1\n"));
        let reloading = Message::parse(b"RELOADING=1\nMONOTONIC_USEC=1\n");
        assert!(reloading.reloading && !reloading.ready);
        assert!(!is_ready(b"READY=11"));
        assert!(!is_ready(b""));
        assert_eq!(Message::parse(b"MAINPID=42").main, Some(42));
        let stored = Message::parse(b"FDSTORE=1\nFDNAME=https@10.0.0.5@443\n");
        assert!(stored.store && !stored.remove);
        assert_eq!(stored.name.as_deref(), Some("https@10.0.0.5@443"));
    }
}
