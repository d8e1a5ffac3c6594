//! The Unix socket: whoever may write to it may do anything, so its file's mode is what guards it.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use super::Error;
use crate::net::namespace;

/// Where the sockets of all services are.
pub const FOLDER: &str = "/run/gateway";

/// Of the socket: root's, or whose the process is.
const MODE: u32 = 0o600;

/// Where the socket of a service is, in this network namespace.
///
/// # Errors
/// The kernel does not tell the namespace.
pub fn path(service: &str) -> Result<PathBuf, crate::net::Error> {
    Ok(Path::new(FOLDER).join(format!("{}.sock", namespace::scoped(service)?)))
}

/// A socket that is gone from its folder with this.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// Removes it when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

/// Takes the place of one that was left behind. Two balancers of a namespace exclude each other before.
pub(super) fn bind(path: &Path) -> Result<Socket, Error> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new(FOLDER));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    // Under another name until its mode is set: nobody gets in meanwhile.
    let beside = path.with_extension("sock.new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(MODE)).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    Ok(Socket { listener, file: SocketFile(path.to_owned()) })
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_its_owners_alone_and_takes_the_place_of_one_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contoso.sock");
        let left = UnixListener::bind(&path).unwrap();
        drop(left);
        let socket = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        drop(socket.file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
