//! Tells when files are other ones than before: `--watch`, certificates.
//!
//! inotify says so at once where a file is written or renamed over. Where a folder on the way to it is a symbolic link
//! that is swapped, as with volumes of configuration in a cluster, nothing in the file's own folder happens: so it is also
//! looked at every second.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// Between two looks at it.
const LOOK: Duration = Duration::from_secs(1);
/// For a writer to go on: what is the same for so long is whole.
const QUIET: Duration = Duration::from_millis(30);

/// What a file is told by. Editors that rename and links that are swapped give another one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    path: PathBuf,
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Mark {
    /// None where there is no file, for a moment perhaps.
    fn of(path: &Path) -> Option<Self> {
        let path = fs::canonicalize(path).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        Some(Self {
            path,
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What is known of several files; of one that is not there, what was known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks(Vec<(PathBuf, Option<Mark>)>);

impl Marks {
    /// Of these files as they are.
    pub(crate) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(
            paths
                .into_iter()
                .map(|path| {
                    let mark = Mark::of(&path);
                    (path, mark)
                })
                .collect(),
        )
    }

    /// The same files later.
    fn later(&self) -> Self {
        let later = |(path, before): &(PathBuf, Option<Mark>)| {
            (path.clone(), Mark::of(path).or_else(|| before.clone()))
        };
        Self(self.0.iter().map(later).collect())
    }

    /// Folders in which something happens when one of them is replaced: those that they are named in, and those that they are in.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let folder = |path: &Path| match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let both = |(path, mark): &(PathBuf, Option<Mark>)| {
            let real = mark.as_ref().map_or(path, |mark| &mark.path);
            [folder(path), folder(real)]
        };
        self.0.iter().flat_map(both).collect()
    }
}

/// A task that watches; it ends with this.
#[derive(Debug)]
pub(crate) struct FileWatch {
    _task: AbortOnDropHandle<()>,
}

impl FileWatch {
    /// Sends a `sign` whenever one of the files is another one than when it was `seen`, and whole.
    pub(crate) fn start<M: Send + 'static>(seen: Marks, sign: fn() -> M, outbox: mpsc::Sender<M>) -> Self {
        Self { _task: AbortOnDropHandle::new(tokio::spawn(watch(seen, sign, outbox))) }
    }
}

async fn watch<M: Send + 'static>(mut seen: Marks, sign: fn() -> M, outbox: mpsc::Sender<M>) {
    // One is enough: it says only that there is something to look at.
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut folders = seen.folders();
    let mut watcher = notified(&folders, wake.clone());
    loop {
        let mut now = seen.later();
        if now == seen {
            // `wake` is held here, so this ends by a sign or by time.
            let _ = timeout(LOOK, woken.recv()).await;
            // A log beside them that grows all the time is no reason to look all the time.
            sleep(QUIET).await;
            continue;
        }
        loop {
            sleep(QUIET).await;
            let later = now.later();
            if later == now {
                break;
            }
            now = later;
        }
        seen = now;
        if seen.folders() != folders {
            folders = seen.folders();
            watcher = notified(&folders, wake.clone());
        }
        if outbox.send(sign()).await.is_err() {
            drop(watcher);
            return;
        }
    }
}

/// Watches folders.
fn notified(folders: &BTreeSet<PathBuf>, wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let ring = move |_: notify::Result<notify::Event>| {
        // Full: the one that is there will do.
        let _ = wake.try_send(());
    };
    let watcher = notify::recommended_watcher(ring);
    let mut watcher =
        watcher.inspect_err(|error| log::warn!("files are looked at every second only: {error}")).ok()?;
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            log::warn!("files in {} are looked at every second only: {error}", folder.display());
        }
    }
    Some(watcher)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Waits for a sign; a busy machine may take its time.
    async fn told(inbox: &mut mpsc::Receiver<()>) {
        timeout(Duration::from_secs(20), inbox.recv()).await.unwrap().unwrap();
    }

    #[test]
    fn an_edit_a_rename_and_a_swapped_link_are_each_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["one", "two"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("gateway.toml"), version).unwrap();
        }
        symlink("one", at("data")).unwrap();
        symlink("data/gateway.toml", at("gateway.toml")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (outbox, mut inbox) = mpsc::channel(1);
            let file = at("gateway.toml");
            let other = at("other");
            let _watch = FileWatch::start(Marks::of([file, other.clone()]), || (), outbox);
            fs::write(at("one/gateway.toml"), "edited").unwrap();
            told(&mut inbox).await;
            symlink("two", at("data.new")).unwrap();
            fs::rename(at("data.new"), at("data")).unwrap();
            told(&mut inbox).await;
            fs::write(at("two/new"), "renamed").unwrap();
            fs::rename(at("two/new"), at("two/gateway.toml")).unwrap();
            told(&mut inbox).await;
            fs::write(&other, "that there was not").unwrap();
            told(&mut inbox).await;
            fs::remove_file(&other).unwrap();
            fs::write(&other, "and is again").unwrap();
            told(&mut inbox).await;
            assert!(inbox.try_recv().is_err());
        });
    }
}
