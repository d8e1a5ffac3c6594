//! Bearer tokens: a file of names, roles and hashes, read anew for each request, so that removing a line is enough.

use std::{
    fmt::Write as _,
    fs, io,
    io::Read as _,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{constant_time, digest, rand};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More than anybody has use for; a file that grows without end is not read.
const LARGEST: u64 = 256 * 1024;
/// Before a token, so that scanners of repositories know one when they see it.
const PREFIX: &str = "gateway_";

/// What a token is good for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looking.
    Read,
    /// Changing too.
    Write,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For the audit log.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    hash: [u8; 32],
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be read.
    #[error("the tokens' file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could add a token, or see who has one.
    #[error("the tokens' file {} may be read or written by others (mode {mode:04o}); `chmod 600` it", path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else's.
    #[error("the tokens' file {} belongs to user {owner}, who is neither root nor the user of this process", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
    /// A line that is none.
    #[error("line {line} of the tokens' file {} is not `NAME read|write sha256:HEX`; `gateway token NAME` prints one", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// Reads the file. Its mode has to be such that nobody else can write to it, and not everybody can read it.
///
/// # Errors
/// See [`Error`].
pub fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    // Of the file that is open, whatever its name leads to by now.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(Error::Mode { path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(Error::Owner { path: path.to_owned(), owner });
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).map_err(|line| Error::Line { path: path.to_owned(), line })
}

/// The number of the first line that is none, from 1.
fn parse(text: &str) -> Result<Vec<Entry>, usize> {
    let lines = (1..).zip(text.lines());
    let lines = lines.map(|(number, line)| (number, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| entry(line).ok_or(number)).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let role = match words.next()? {
        "read" => Role::Read,
        "write" => Role::Write,
        _ => return None,
    };
    let hash = unhex(words.next()?.strip_prefix("sha256:")?)?;
    words.next().is_none().then_some(Entry { name, role, hash })
}

/// Whose token it is. Compared in constant time, and all lines are.
pub fn find<'e>(entries: &'e [Entry], token: &str) -> Option<&'e Entry> {
    let hash = hash(token);
    let fits = |entry: &&Entry| constant_time::verify_slices_are_equal(&entry.hash, &hash).is_ok();
    entries.iter().filter(fits).fold(None, |found, entry| found.or(Some(entry)))
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// A new token, and its line for the file.
///
/// # Errors
/// The system gives no random numbers.
pub fn make(name: &str, role: Role) -> io::Result<(String, String)> {
    let token = format!("{PREFIX}{}", secret()?);
    let line = format!("{name} {} sha256:{}", role.word(), hex(&hash(&token)));
    Ok((token, line))
}

/// 256 random bits, in hexadecimal.
pub(super) fn secret() -> io::Result<String> {
    let mut secret = [0_u8; 32];
    rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(hex(&secret))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let (token, line) = make("deploy", Role::Write).unwrap();
        let (other, other_line) = make("graphs", Role::Read).unwrap();
        assert!(!line.contains(&token));
        let entries = parse(&format!("# tokens\n\n{line}\n  {other_line}  \n")).unwrap();
        assert_eq!(
            find(&entries, &token).map(|found| (found.name.as_str(), found.role)),
            Some(("deploy", Role::Write))
        );
        assert_eq!(find(&entries, &other).map(|found| found.role), Some(Role::Read));
        for wrong in ["", "x", &token[1..], &line] {
            assert_eq!(find(&entries, wrong), None);
        }
        assert_ne!(token, make("deploy", Role::Write).unwrap().0);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let (_, line) = make("a", Role::Read).unwrap();
        for wrong in [
            "a read",
            "a admin sha256:00",
            "a read sha256:zz",
            &format!("{line} more"),
            &line.replace("sha256", "md5"),
        ] {
            assert_eq!(parse(&format!("{line}\n{wrong}")), Err(2), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, make("a", Role::Read).unwrap().1).unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{mode:o}");
        }
        assert!(matches!(read(&folder.path().join("none")), Err(Error::Unreadable { .. })));
    }
}
