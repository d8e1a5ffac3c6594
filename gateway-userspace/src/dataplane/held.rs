//! What the kernel tells of a pinned link.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET`
const GET: libc::c_long = 7;

/// A link of XDP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    /// The program that it attaches.
    pub(super) program: u32,
    /// Where; 0 once the interface is gone.
    pub(super) interface: u32,
}

/// Asks for a pinned link. The interface's number is one of the namespace that it is in.
pub(super) fn link(path: &Path) -> io::Result<About> {
    let descriptor = get(path)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()))?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no link of an XDP program"))
}

fn parse(text: &str) -> Option<About> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    Some(About { program: field("prog_id")?, interface: field("ifindex")? })
}

/// The first part of the kernel's `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct Attributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    // SAFETY: the kernel reads as many bytes as it is told, and a path that ends with zero; both live until it returns.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, GET, &raw const attributes, size_of::<Attributes>()) };
    let descriptor =
        i32::try_from(outcome).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_interface_are_told() {
        let text = "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t7\nprog_tag:\tabc\nprog_id:\t53\nifindex:\t2\n";
        assert_eq!(parse(text), Some(About { program: 53, interface: 2 }));
        assert_eq!(parse("link_type:\ttracing\nprog_id:\t53\n"), None);
    }
}
