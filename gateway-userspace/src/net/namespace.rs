//! Tells network namespaces apart.

use std::{fs, io, os::fd::AsRawFd, os::unix::fs::MetadataExt, os::unix::net::UnixDatagram};

use super::Error;

// From include/uapi/asm-generic/socket.h (Linux 5.14); the libc crate does not have it.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A name for this thread's network namespace; several namespaces may share one `/run`.
pub(super) fn id() -> Result<String, Error> {
    let failed = |source| Error::Kernel { action: "tell the network namespace".into(), source };
    match cookie() {
        Ok(cookie) => Ok(cookie.to_string()),
        // Before 5.14 the inode has to do; the kernel may give its number to another namespace later.
        Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            fs::metadata("/proc/thread-self/ns/net").map(|ns| format!("inode-{}", ns.ino())).map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

/// What is called `name` here, for places that several namespaces share, such as `/run` and bpffs: `name` itself in the namespace
/// of process 1, `name-<id>` in others.
///
/// # Errors
/// The kernel does not tell the namespace.
pub fn scoped(name: &str) -> Result<String, Error> {
    let inode = |process: &str| fs::metadata(format!("/proc/{process}/ns/net")).map(|ns| ns.ino()).ok();
    match (inode("thread-self"), inode("1")) {
        (Some(own), Some(first)) if own == first => Ok(name.to_owned()),
        _ => Ok(format!("{name}-{}", id()?)),
    }
}

/// A number that the kernel gives to no other namespace until the next boot.
fn cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, which is that long, and a socklen_t to `len`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if outcome == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
