//! Certificates, authorities and secrets that change under the same configuration: they are taken up within a second or two, without
//! a signal.

use tokio::sync::mpsc;

use crate::file_watch::{FileWatch, Marks};

/// The files that are looked after.
#[derive(Debug)]
pub(super) struct Files {
    changed: mpsc::Receiver<()>,
    _watch: FileWatch,
}

impl Files {
    /// Those of `seen`, which was noted before they were read.
    pub(super) fn watch(seen: Marks) -> Self {
        let (outbox, changed) = mpsc::channel(1);
        Self { changed, _watch: FileWatch::start(seen, || (), outbox) }
    }

    /// Waits until one is another one than before. Safe to drop half-way.
    pub(super) async fn changed(&mut self) {
        if self.changed.recv().await.is_none() {
            // The watch has ended, as it does with its runtime only.
            std::future::pending::<()>().await;
        }
    }
}
