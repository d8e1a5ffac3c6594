//! Pipes for splice(2). Each takes two descriptors and, while bytes are in it, memory, so a worker shares a few among all its
//! connections: one has a pipe only while bytes of it are on their way.

use std::{cell::RefCell, io, os::fd::OwnedFd};

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{io::Interest, net::TcpStream};

/// What is moved at once, and what a pipe is asked to hold: of what comes by TCP a piece is mostly a page, and a pipe of the default
/// size has places for sixteen. Four times as many cost a fifth less processor time, sixteen times as many a tenth less still. More
/// than that an unprivileged process may not have (pipe-max-size).
const MOST: usize = 1024 * 1024;

/// Empty pipes that are kept by a worker.
const KEPT: usize = 64;

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(super) fn take() -> io::Result<Self> {
        match EMPTY.with_borrow_mut(Vec::pop) {
            Some(pipe) => Ok(pipe),
            None => Self::new(),
        }
    }

    fn new() -> io::Result<Self> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where an unprivileged process has many already (pipe-user-pages-soft), it takes more turns.
        let _sized = fcntl(&input, FcntlArg::F_SETPIPE_SZ(MOST as i32)).is_ok();
        Ok(Self { output, input, held: 0 })
    }

    /// What is in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// For the next who needs one. With bytes in it, it goes.
    pub(super) fn give_back(self) {
        if self.held == 0 {
            EMPTY.with_borrow_mut(|empty| {
                if empty.len() < KEPT {
                    empty.push(self);
                }
            });
        }
    }

    /// From the socket into the pipe, which is empty: a full one would look like a socket without bytes. 0: the socket has ended.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let count = from.try_io(Interest::READABLE, || moved(from, &self.input, MOST))?;
        self.held += count;
        Ok(count)
    }

    /// From the pipe into the socket.
    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let count = to.try_io(Interest::WRITABLE, || moved(&self.output, to, self.held))?;
        self.held -= count;
        Ok(count)
    }
}

fn moved(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}
