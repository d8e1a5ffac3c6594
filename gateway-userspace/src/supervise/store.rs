//! Descriptors that a child wants kept over its own end (sd_notify(3), `FDSTORE=1`), and how the next process gets them
//! (sd_listen_fds(3)).

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::fs::MetadataExt,
    },
};

use nix::fcntl::{FcntlArg, fcntl};
use tokio::process::Command;

use super::notify::Message;

/// Of one child; a proxy has some for each core.
const MOST: usize = 4096;
/// The first number of a descriptor that is handed over.
const FIRST: RawFd = 3;

/// What is kept, each with its name.
#[derive(Debug, Default)]
pub(super) struct Store(Vec<Stored>);

#[derive(Debug)]
struct Stored {
    name: String,
    descriptor: OwnedFd,
    inode: u64,
}

/// Descriptors that only have to live until a process is started.
#[derive(Debug)]
pub(super) struct UntilStarted(#[expect(dead_code, reason = "they are held, not used")] Vec<OwnedFd>);

impl Store {
    /// What a message says about it.
    pub(super) fn take_up(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        let name = message.name.as_deref().unwrap_or("stored");
        if message.remove {
            self.0.retain(|stored| stored.name != name);
        }
        if !message.store {
            return;
        }
        for descriptor in descriptors {
            let inode = descriptor.try_clone().map(File::from).and_then(|file| file.metadata());
            let Ok(inode) = inode.map(|data| data.ino()) else { continue };
            let is_new = self.0.iter().all(|stored| stored.inode != inode);
            if is_new && self.0.len() < MOST {
                self.0.push(Stored { name: name.to_owned(), descriptor, inode });
            }
        }
    }

    /// Has `command` get them all, from number 3 on. What comes back has to live until it is started.
    pub(super) fn pass(&self, command: &mut Command) -> io::Result<UntilStarted> {
        let count = RawFd::try_from(self.0.len()).map_err(io::Error::other)?;
        let above = FIRST + count;
        let names: Vec<_> = self.0.iter().map(|stored| stored.name.as_str()).collect();
        command
            .env_remove("LISTEN_PID")
            .env("LISTEN_FDS", count.to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        // Copies that are out of the way of where they shall go.
        let copy = |stored: &Stored| duplicate(&stored.descriptor, above);
        let copies = self.0.iter().map(copy).collect::<io::Result<Vec<_>>>()?;
        let from: Vec<RawFd> = copies.iter().map(AsRawFd::as_raw_fd).collect();
        let mut held = copies;
        // Every number below is taken, so that what the library opens to start the process is out of the way too.
        if let Some(any) = self.0.first() {
            loop {
                let filler = duplicate(&any.descriptor, FIRST)?;
                if filler.as_raw_fd() >= above {
                    break;
                }
                held.push(filler);
            }
        }
        let place = move || {
            for (number, from) in (FIRST..).zip(&from) {
                // SAFETY: a system call. In the child nobody uses what had this number: exec was to close it.
                if unsafe { libc::dup2(*from, number) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: dup2 is a system call, and no memory is
        // allocated.
        unsafe { command.pre_exec(place) };
        Ok(UntilStarted(held))
    }
}

fn duplicate(descriptor: &OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(descriptor.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has made it for this process just now, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
