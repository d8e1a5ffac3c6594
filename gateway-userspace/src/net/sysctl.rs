//! Settings under `/proc/sys`, addressed by path: the dotted form of sysctl(8) is ambiguous for an interface named
//! `eth0.100`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Error;

/// Where `net/ipv4/conf/<interface>/<key>` is. The kernel shows each thread its own network namespace there.
pub(crate) fn ipv4_conf(interface: &str, key: &str) -> PathBuf {
    ["/proc/sys/net/ipv4/conf", interface, key].iter().collect()
}

/// Likewise for `net/ipv6`.
pub(super) fn ipv6_conf(interface: &str, key: &str) -> PathBuf {
    ["/proc/sys/net/ipv6/conf", interface, key].iter().collect()
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path)
        .map_err(|e| Error::refused(format!("read {}", path.display()), "CAP_NET_ADMIN", e))?;
    Ok(text.trim_end().into())
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), Error> {
    fs::write(path, value)
        .map_err(|e| Error::refused(format!("write {value} to {}", path.display()), "CAP_NET_ADMIN", e))
}

/// Puts `previous` back, unless somebody has changed our `set` in the meantime or the interface is gone.
pub(super) fn restore(path: &Path, set: &str, previous: &str) -> Result<(), Error> {
    match fs::read_to_string(path) {
        Ok(now) if now.trim_end() == set => write(path, previous),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::refused(format!("read {}", path.display()), "CAP_NET_ADMIN", e)),
    }
}
