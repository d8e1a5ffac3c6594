//! The counters, in the log for people and in a file for programs.

use std::{ffi::OsString, fs, io, path::Path};

use serde::Serialize;

use crate::dataplane::Dataplane;

/// Logs the counters and, if there is one, writes the file. What fails is logged: a balancer does not stop for it.
pub(super) fn report(dataplane: &Dataplane, file: Option<&Path>) {
    let counters = match dataplane.counters() {
        Ok(counters) => counters,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return log::error!("the counters cannot be read: {error:#}");
        }
    };
    log::info!("counters\n{counters}");
    if let Some(file) = file
        && let Err(error) = replace(file, &counters)
    {
        log::error!("the counters cannot be written to {}: {error}", file.display());
    }
}

/// By a file beside it and a rename: a reader sees the old or the new one, never half of one.
fn replace(file: &Path, content: &impl Serialize) -> io::Result<()> {
    let mut beside = OsString::from(file);
    beside.push(".new");
    let written = serde_json::to_vec_pretty(content)
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&beside, text))
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // It may not even have been made.
        fs::remove_file(&beside).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Counters;

    #[test]
    fn the_file_is_replaced_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counters.json");
        fs::write(&file, "old").unwrap();
        replace(&file, &Counters::default()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(read["schema_version"], 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-folder");
        fs::create_dir(&file).unwrap();
        replace(&file, &Counters::default()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
