//! The archive that a kernel unpacks as its first file system: cpio in the `newc` form
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's sources).

use std::{collections::BTreeSet, path::Path};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LAST: &str = "TRAILER!!!";

/// An archive under way. Everything in it is root's and may be read and executed.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    /// Inode numbers tell files apart: two with one number would be links.
    entries: u32,
}

impl Archive {
    /// Adds a file at an absolute path, and the folders on the way.
    pub(super) fn add(&mut self, path: &Path, content: &[u8]) {
        let mut folders: Vec<_> = path.ancestors().skip(1).filter_map(name).collect();
        folders.reverse();
        for folder in folders {
            if self.folders.insert(folder.clone()) {
                self.entry(&folder, FOLDER, &[]);
            }
        }
        if let Some(name) = name(path) {
            self.entry(&name, FILE, content);
        }
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, &[]);
        self.bytes
    }

    /// Fourteen numbers, the name with a zero byte, the content; name and content end at a multiple of four.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = 1;
        let [size, name_size] =
            [content.len(), name.len() + 1].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        let [owner, group, time, major, minor, device_major, device_minor, check] = [0; 8];
        self.bytes.extend_from_slice(b"070701");
        for number in [
            self.entries,
            mode,
            owner,
            group,
            links,
            time,
            size,
            major,
            minor,
            device_major,
            device_minor,
            name_size,
            check,
        ] {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The path as archives have it, without the first slash; `None` for the root itself.
fn name(path: &Path) -> Option<String> {
    let name = path.to_string_lossy();
    let name = name.trim_start_matches('/');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and content of each entry, by the lengths that the headers give.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at}");
            let field = |n: usize| {
                let start = at + 6 + 8 * n;
                u32::from_str_radix(str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name_at = at + 110;
            let content_at = (name_at + name_size).next_multiple_of(4);
            assert_eq!(bytes[name_at + name_size - 1], 0);
            entries.push((
                String::from_utf8(bytes[name_at..name_at + name_size - 1].to_vec()).unwrap(),
                mode,
                bytes[content_at..content_at + size].to_vec(),
            ));
            at = (content_at + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn files_lie_in_their_folders_and_each_folder_comes_once() {
        let mut archive = Archive::default();
        archive.add(Path::new("/init"), b"12345");
        archive.add(Path::new("/a/b/one"), b"");
        archive.add(Path::new("/a/two"), b"4444");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let entries = entries(&bytes);
        let read: Vec<_> = entries.iter().map(|(name, mode, content)| (&**name, *mode, &**content)).collect();
        assert_eq!(
            read,
            [
                ("init", FILE, &b"12345"[..]),
                ("a", FOLDER, b""),
                ("a/b", FOLDER, b""),
                ("a/b/one", FILE, b""),
                ("a/two", FILE, b"4444"),
                (LAST, 0, b""),
            ]
        );
    }

    /// Byte for byte what `printf hi > f; chmod 755 f; echo f | cpio -o -H newc` gives, but for inode, time and device.
    #[test]
    fn an_entry_is_as_the_format_has_it() {
        let mut archive = Archive::default();
        archive.add(Path::new("f"), b"hi");
        let numbers = "00000001 000081ed 00000000 00000000 00000001 00000000 00000002 \
                       00000000 00000000 00000000 00000000 00000002 00000000";
        let expected = format!("070701{}f\0hi\0\0", numbers.replace(' ', ""));
        assert_eq!(archive.bytes, expected.as_bytes());
    }
}
