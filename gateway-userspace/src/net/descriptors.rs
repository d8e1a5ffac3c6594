//! Descriptors sent from process to process (SCM_RIGHTS, unix(7)).

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};

/// So many at once, and no more (`SCM_MAX_FD` in include/net/scm.h).
pub const MOST: usize = 253;

/// Sends a message, and copies of descriptors with it.
///
/// # Errors
/// The other end is gone, or there are more than [`MOST`].
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights };
    let parts = [IoSlice::new(message)];
    sendmsg::<()>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives a message of at most as many bytes, and its descriptors, which close on exec. No bytes: the other end is gone.
///
/// # Errors
/// Nothing comes within the socket's time, or the message is larger.
pub fn receive(socket: BorrowedFd<'_>, most: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut message = vec![0; most];
    let mut control = cmsg_space!([RawFd; MOST]);
    let (length, cut, numbers) = {
        let mut parts = [IoSliceMut::new(&mut message)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let numbers: Vec<RawFd> = received
            .cmsgs()?
            .filter_map(|one| match one {
                ControlMessageOwned::ScmRights(numbers) => Some(numbers),
                _ => None,
            })
            .flatten()
            .collect();
        (received.bytes, received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC), numbers)
    };
    // SAFETY: the kernel has made these for this process just now, and nobody else knows of them.
    let own = |number: RawFd| unsafe { OwnedFd::from_raw_fd(number) };
    let descriptors = numbers.into_iter().map(own).collect();
    if cut {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too large"));
    }
    message.truncate(length);
    Ok((message, descriptors))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
        os::fd::AsFd,
        os::unix::net::UnixDatagram,
    };

    use super::*;

    #[test]
    fn a_descriptor_arrives_as_the_same_open_file() {
        let (one, other) = UnixDatagram::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        let many = vec![file.as_fd(); MOST];
        send(one.as_fd(), b"message", &many).unwrap();
        let (message, descriptors) = receive(other.as_fd(), 100).unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"message"[..], MOST));
        let mut copy = File::from(descriptors.into_iter().next().unwrap());
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        send(one.as_fd(), b"message", &vec![file.as_fd(); MOST + 1]).unwrap_err();
        send(one.as_fd(), b"long", &[]).unwrap();
        receive(other.as_fd(), 3).unwrap_err();
    }
}
