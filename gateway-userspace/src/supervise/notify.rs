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

    /// Waits until the child says that it is ready. Safe to drop half-way.
    pub(super) async fn ready(&self) -> io::Result<()> {
        // Longer than any message of ours; a longer one is cut, which loses no line that matters.
        let mut buffer = [0; 4096];
        loop {
            let len = self.socket.recv(&mut buffer).await?;
            if says_ready(&buffer[..len]) {
                return Ok(());
            }
        }
    }
}

/// A message is lines of `KEY=value`.
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_counts() {
        assert!(says_ready(b"READY=1"));
        assert!(says_ready(b"STATUS=taken up\nREADY=1\n"));
        assert!(!says_ready(b"RELOADING=1\nMONOTONIC_USEC=1\n"));
        assert!(!says_ready(b"READY=11"));
        assert!(!says_ready(b""));
    }
}
