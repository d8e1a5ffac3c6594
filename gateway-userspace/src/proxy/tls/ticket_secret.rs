//! The file that instances share, from which all of them make the same keys for session tickets.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Less could be guessed.
const LEAST: usize = 32;
/// What is read of it.
const MOST: u64 = 4096;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Missing, or not ours to read.
    #[error("the secret of session tickets, {}, cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Whoever reads it can read every session.
    #[error("the secret of session tickets, {}, may be read or written by others (mode {mode:04o}); `chmod 600` it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else's.
    #[error("the secret of session tickets, {}, belongs to user {owner}, who is neither root nor the user of this process", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
    /// Too few bytes.
    #[error(
        "the secret of session tickets, {}, has {length} bytes, and at least {LEAST} are needed; `openssl rand -out FILE 48` makes some",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// How many it has.
        length: usize,
    },
}

/// Reads the file. Nobody else may write it, and not everybody read it.
///
/// # Errors
/// See [`SecretError`].
pub fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    // Of the file that is open, whatever its name leads to by now.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(SecretError::Mode { path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(SecretError::Owner { path: path.to_owned(), owner });
    }
    let mut secret = Vec::new();
    file.take(MOST).read_to_end(&mut secret).map_err(unreadable)?;
    if secret.len() < LEAST {
        return Err(SecretError::Short { path: path.to_owned(), length: secret.len() });
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tickets");
        assert!(matches!(read(&path), Err(SecretError::Unreadable { .. })));
        for (length, mode, good) in
            [(31, 0o600, false), (32, 0o600, true), (32, 0o640, true), (32, 0o644, false), (32, 0o660, false)]
        {
            fs::write(&path, vec![7; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{length} bytes, mode {mode:o}");
        }
    }
}
