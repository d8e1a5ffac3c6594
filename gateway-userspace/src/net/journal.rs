//! What a process changed on the host, on file, so that the next start can undo it if this process is killed.
//!
//! The file is `/run/gateway/<role>-<network namespace>.journal`, one JSON object a line, each written before its
//! change is made. `/run` is emptied at boot, as are the changes. The lock on it tells a living owner from a dead
//! one, since the kernel drops it with the process, however that ends.
//!
//! No start removes the journal of another namespace, though that may be gone: a mount or a descriptor that cannot be
//! seen from here may keep it, and then the journal is all that knows what to undo there. One that is empty stays too,
//! since whoever locks it to look would be in the way of its owner's start. It is some hundred bytes until the next boot.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    net::IpAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, namespace};

const FOLDER: &str = "/run/gateway";

/// A change that can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// An address was added.
    Address { link: u32, name: String, ip: IpAddr },
    /// A default route was added to the table of replies.
    RouteBack { link: u32, through: IpAddr },
    /// A rule was added that sends a port's replies by that table, or those of marked sockets.
    ReplyRule { from: IpAddr, port: Option<u16> },
    /// A setting was overwritten.
    Setting { path: PathBuf, previous: String, set: String },
}

/// The file of one role in one network namespace, locked.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Locks the file, and reads what a predecessor that was killed left behind.
    pub(super) fn open(role: &'static str) -> Result<(Self, Vec<Change>), Error> {
        let path = Path::new(FOLDER).join(format!("{role}-{}.journal", namespace::id()?));
        let failed = |source| Error::Journal { path: path.display().to_string(), source };
        loop {
            fs::create_dir_all(FOLDER).map_err(failed)?;
            let file = File::options().read(true).append(true).create(true).open(&path);
            let mut file = match file {
                Ok(file) => file,
                // The last one out removes the folder too, perhaps just now.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Running { role, path: path.display().to_string() });
                }
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
            // Its owner may have removed it between our open and our lock: then this lock guards nothing.
            let locked = file.metadata().map_err(failed)?.ino();
            if fs::metadata(&path).is_ok_and(|named| named.ino() == locked) {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(failed)?;
                return Ok((Self { file, path }, parse(&text)));
            }
        }
    }

    /// The file that another process of the role has locked, by its descriptor, and what that process has changed.
    pub(super) fn inherit(role: &'static str, descriptor: OwnedFd) -> Result<(Self, Vec<Change>), Error> {
        let path = Path::new(FOLDER).join(format!("{role}-{}.journal", namespace::id()?));
        let mut journal = Self { file: descriptor.into(), path };
        let changes = journal.read()?;
        Ok((journal, changes))
    }

    /// The descriptor, of which copies share the lock.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What is on file.
    pub(super) fn read(&mut self) -> Result<Vec<Change>, Error> {
        let mut text = String::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_string(&mut text));
        let failed = |source| Error::Journal { path: self.path.display().to_string(), source };
        read.map(|_| parse(&text)).map_err(failed)
    }

    /// To be called before the change is made.
    pub(super) fn note(&mut self, change: &Change) -> Result<(), Error> {
        let line = line(change);
        self.file.write_all(line.as_bytes()).map_err(|e| self.failed(e))
    }

    /// Keeps only these.
    pub(super) fn rewrite<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), Error> {
        let text: String = changes.into_iter().map(line).collect();
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .map_err(|e| self.failed(e))
    }

    /// Removes the file; and the folder, if no other role uses it.
    pub(super) fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(|e| self.failed(e))?;
        // It fails where another file is in it, which is the point.
        fs::remove_dir(FOLDER).ok();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn unlock(&mut self) {
        self.file.unlock().unwrap();
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Kernel { action: format!("write {}", self.path.display()), source }
    }
}

fn line(change: &Change) -> String {
    // Strings, numbers and addresses only: this cannot fail.
    let mut text = serde_json::to_string(change).unwrap_or_default();
    text.push('\n');
    text
}

/// A line that was cut short by the kill stands for a change that was not made: noting comes first. One that comes twice is one
/// change: taken over once, it must not be undone for the other.
fn parse(text: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for change in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_is_passed_over() {
        let kept = Change::Address { link: 1, name: "lo".into(), ip: "10.0.0.5".parse().unwrap() };
        let text = format!("{}{{\"address\":{{\"li", line(&kept));
        assert_eq!(parse(&text), [kept]);
    }

    #[test]
    fn a_line_that_comes_twice_is_one_change() {
        let one = Change::Address { link: 1, name: "lo".into(), ip: "10.0.0.5".parse().unwrap() };
        let other = Change::Address { link: 1, name: "lo".into(), ip: "10.0.0.6".parse().unwrap() };
        let text = [line(&one), line(&other), line(&one)].concat();
        assert_eq!(parse(&text), [one, other]);
    }
}
