//! A tar.gz of texts.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};

/// The folder in it.
const FOLDER: &str = "gateway-support";

/// Writes it anew, for its owner alone.
pub(super) fn write(path: &Path, files: &[(&'static str, String)], now: SystemTime) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let modified = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(modified);
        archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _};

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_written_is_unpacked_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        write(&path, &[("status.json", "{}".into()), ("log.txt", "a\nb\n".into())], SystemTime::now())
            .unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(&path).unwrap()));
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        let read: Vec<_> = read.collect();
        assert_eq!(
            read,
            [
                ("gateway-support/status.json".into(), "{}".into()),
                ("gateway-support/log.txt".into(), "a\nb\n".into())
            ]
        );
    }
}
