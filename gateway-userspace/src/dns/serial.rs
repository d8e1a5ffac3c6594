//! The serial number of SOA records.
//!
//! It has to be the same at all instances, and to grow with every change, and instances share nothing but the file. So it is what
//! the file says, or else when the file was last changed: copies that keep its time (`cp -p`, `rsync -t`) have the same number.

use std::{fmt, io, path::Path, time::SystemTime};

use crate::model::Model;

/// Of a zone. Numbers go round at 2³² (RFC 1982).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(pub u32);

impl Serial {
    /// The seconds of a time; before 1970 it is 0.
    pub fn of_time(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self((seconds & u64::from(u32::MAX)) as u32)
    }

    /// RFC 1982, 3.2. Of two that are half a round apart neither is.
    pub fn is_older_than(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0);
        ahead != 0 && ahead < 1 << 31
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Of a model that was read from this file.
///
/// # Errors
/// There is no such file any more.
pub fn of(model: &Model, path: &Path) -> io::Result<Serial> {
    match model.dns.serial {
        Some(written) => Ok(Serial(written)),
        None => Ok(Serial::of_time(path.metadata()?.modified()?)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;
    use crate::testing::model;

    #[test]
    fn r54_it_is_what_the_file_says_or_when_it_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_900)).unwrap();
        let mut model = model(&["gw-1"]);
        assert_eq!(of(&model, &path).unwrap(), Serial(1_800_000_000));
        model.dns.serial = Some(7);
        assert_eq!(of(&model, &path).unwrap(), Serial(7));
        model.dns.serial = None;
        assert!(of(&model, &folder.path().join("other")).is_err());
    }

    #[test]
    fn r54_numbers_go_round() {
        for (older, newer) in [(1, 2), (0, i32::MAX as u32), (u32::MAX, 0), (u32::MAX - 5, 3)] {
            assert!(Serial(older).is_older_than(Serial(newer)), "{older} {newer}");
            assert!(!Serial(newer).is_older_than(Serial(older)), "{newer} {older}");
        }
        assert!(!Serial(5).is_older_than(Serial(5)));
    }
}
