//! The listening end of systemd's notification protocol (sd_notify(3)): how a daemon says that it is ready.

use std::{
    collections::VecDeque,
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

/// How long one look waits.
const LOOK: Duration = Duration::from_millis(20);

/// A socket on which a daemon reports. A path, because abstract names belong to one network namespace.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
    pending: VecDeque<String>,
}

impl Notifications {
    /// Listens on `path`.
    ///
    /// # Errors
    /// The path is taken, or longer than a socket's may be (107 bytes).
    pub fn listen(path: &Path) -> anyhow::Result<Self> {
        let socket =
            UnixDatagram::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        // As a service manager's: the daemon may be another user.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket, path: path.to_owned(), pending: VecDeque::new() })
    }

    /// What `NOTIFY_SOCKET` has to say.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next line of the daemon's, if one has come: `READY=1`, `RELOADING=1`, `STATUS=…`.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn line(&mut self) -> anyhow::Result<Option<String>> {
        if self.pending.is_empty() {
            let mut message = [0; 4096];
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&message[..length]).into_owned();
                    self.pending.extend(text.lines().map(str::to_owned));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("cannot read the daemon's notifications"),
            }
        }
        Ok(self.pending.pop_front())
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        // Fails only where the folder is gone already.
        let _ = fs::remove_file(&self.path);
    }
}
