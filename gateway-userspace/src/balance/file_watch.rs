//! `--watch`: tells when the file is another one than before.
//!
//! inotify says so at once where the file is written or renamed over. Where a folder on the way to it is a symbolic link
//! that is swapped, as with volumes of configuration in a cluster, nothing in the file's own folder happens: so it is also
//! looked at every second.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Between two looks at it.
const LOOK: Duration = Duration::from_secs(1);
/// For a writer to go on: what is the same for so long is whole.
const QUIET: Duration = Duration::from_millis(30);

/// What a file is told by. Editors that rename and links that are swapped give another one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    path: PathBuf,
    inode: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Mark {
    /// None where there is no file, for a moment perhaps.
    pub(super) fn of(path: &Path) -> Option<Self> {
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

/// A task that watches; it ends with this.
#[derive(Debug)]
pub(super) struct FileWatch(JoinHandle<()>);

impl FileWatch {
    /// Sends a `sign` whenever the file is another one than it was when it was `seen`, and whole.
    pub(super) fn start<M: Send + 'static>(
        path: PathBuf,
        seen: Option<Mark>,
        sign: fn() -> M,
        outbox: mpsc::Sender<M>,
    ) -> Self {
        Self(tokio::spawn(watch(path, seen, sign, outbox)))
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch<M: Send + 'static>(
    path: PathBuf,
    mut seen: Option<Mark>,
    sign: fn() -> M,
    outbox: mpsc::Sender<M>,
) {
    // One is enough: it says only that there is something to look at.
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut watcher = notified(&path, wake.clone());
    loop {
        let mut now = Mark::of(&path);
        if now == seen || now.is_none() {
            // `wake` is held here, so this ends by a sign or by time.
            let _ = timeout(LOOK, woken.recv()).await;
            continue;
        }
        loop {
            sleep(QUIET).await;
            let later = Mark::of(&path);
            if later == now {
                break;
            }
            now = later;
        }
        if now.is_none() {
            continue;
        }
        if now.as_ref().map(|mark| &mark.path) != seen.as_ref().map(|mark| &mark.path) {
            watcher = notified(&path, wake.clone());
        }
        seen = now;
        if outbox.send(sign()).await.is_err() {
            drop(watcher);
            return;
        }
    }
}

/// Watches the folder that the file is named in, and the one that it is in.
fn notified(path: &Path, wake: mpsc::Sender<()>) -> Option<impl Watcher> {
    let ring = move |_: notify::Result<notify::Event>| {
        // Full: the one that is there will do.
        let _ = wake.try_send(());
    };
    let watcher = notify::recommended_watcher(ring);
    let mut watcher = watcher
        .inspect_err(|error| log::warn!("{} is looked at every second only: {error}", path.display()))
        .ok()?;
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for folder in [folder(path), folder(&real)] {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            log::warn!("{} is looked at every second only: {error}", path.display());
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
            let _watch = FileWatch::start(file.clone(), Mark::of(&file), || (), outbox);
            fs::write(at("one/gateway.toml"), "edited").unwrap();
            told(&mut inbox).await;
            symlink("two", at("data.new")).unwrap();
            fs::rename(at("data.new"), at("data")).unwrap();
            told(&mut inbox).await;
            fs::write(at("two/new"), "renamed").unwrap();
            fs::rename(at("two/new"), at("two/gateway.toml")).unwrap();
            told(&mut inbox).await;
            assert!(inbox.try_recv().is_err());
        });
    }
}
