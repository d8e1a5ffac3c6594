//! What a child tells its supervisor, by the same protocol as a service manager's (sd_notify(3)).

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use tokio::net::UnixDatagram;

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

/// Receives the messages of one child.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    pub(super) fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        Ok(Self { socket: UnixDatagram::bind(&path)?, path })
    }

    /// For `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Throws away what a process that has ended left unread.
    pub(super) fn clear(&self) {
        while self.socket.try_recv(&mut [0; 1]).is_ok() {}
    }

    /// Waits until the child says something that matters. Safe to drop half-way.
    pub(super) async fn next(&self) -> io::Result<Said> {
        // Longer than any message of ours; a longer one is cut, which loses no line that matters.
        let mut buffer = [0; 4096];
        loop {
            let len = self.socket.recv(&mut buffer).await?;
            if let Some(said) = said(&buffer[..len]) {
                return Ok(said);
            }
        }
    }
}

/// What a child says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It works.
    Ready,
    /// It takes up its file, by whomever that was asked for.
    Reloading,
}

/// A message is lines of `KEY=value`.
fn said(message: &[u8]) -> Option<Said> {
    message.split(|byte| *byte == b'\n').find_map(|line| match line {
        b"READY=1" => Some(Said::Ready),
        b"RELOADING=1" => Some(Said::Reloading),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_and_reloading_count() {
        assert_eq!(said(b"READY=1"), Some(Said::Ready));
        assert_eq!(said(b"STATUS=taken up\nREADY=1\n"), Some(Said::Ready));
        assert_eq!(said(b"RELOADING=1\nMONOTONIC_USEC=1\n"), Some(Said::Reloading));
        assert_eq!(said(b"READY=11"), None);
        assert_eq!(said(b""), None);
    }
}
