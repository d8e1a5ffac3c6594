//! What the service manager is told (sd_notify(3)), where there is one.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;

/// A service manager that reads nothing has room for ten words or some hundred (`net.unix.max_dgram_qlen`). Whoever has another one
/// for it must not wait until it reads again: it serves, or is the one task that owns the balancer's state.
const PATIENCE: Duration = Duration::from_millis(50);

/// Tells it, or says in the log why that cannot be.
pub fn tell(states: &[NotifyState<'_>]) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, states) {
        warn(&error);
    }
}

/// That the configuration is read again. With the time, which `Type=notify-reload` asks for (systemd 253).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn(&error),
    }
}

fn warn(error: &io::Error) {
    log::warn!("cannot tell the service manager: {error}");
}

fn send(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: &str) -> (tempfile::TempDir, std::path::PathBuf, UnixDatagram) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let socket = UnixDatagram::bind(&path).unwrap();
        (folder, path, socket)
    }

    #[test]
    fn a_word_comes_as_lines() {
        let (_folder, path, socket) = socket("notify");
        send(path.as_os_str(), &[NotifyState::Ready, NotifyState::Status("serving")]).unwrap();
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=serving\n");
    }

    #[test]
    fn a_service_manager_that_reads_nothing_holds_nobody_up() {
        let (_folder, path, _socket) = socket("deaf");
        // As many as there is room for, and one more.
        let end = (0..100_000).find_map(|_| send(path.as_os_str(), &[NotifyState::Watchdog]).err());
        assert_eq!(end.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
