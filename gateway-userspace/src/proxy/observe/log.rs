//! The access log's file. Workers hand over many lines at once to a thread that writes: no request ever waits for a disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::line::{self, Answered, Asked, Query};
use super::{notes::Notes, passed::Through};
use crate::{model::AccessLog as Settings, proxy::rate::Rate};

/// So much is handed over at once, or what there is after a while: see [`AccessLog::flush`].
const BATCH: usize = 16 * 1024;
/// So many of them may wait for the disk.
const QUEUE: usize = 256;
/// How often it is looked whether the file was put away (logrotate).
const LOOK: Duration = Duration::from_secs(1);

/// Where lines go, in one form.
#[derive(Debug)]
pub struct AccessLog {
    settings: Settings,
    queue: SyncSender<String>,
    /// One a worker, which alone locks it but for the flush.
    batches: Box<[Mutex<String>]>,
    lost: AtomicU64,
    rate: Rate,
}

impl AccessLog {
    /// Opens the file and starts its writer, which ends with the last of these.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(settings: &Settings, workers: usize) -> io::Result<Arc<Self>> {
        let target = Target::open(&settings.path)?;
        let (queue, batches) = sync_channel(QUEUE);
        thread::Builder::new().name("access-log".into()).spawn(move || write(target, &batches))?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            queue,
            batches: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            lost: AtomicU64::new(0),
            rate: Rate::default(),
        }))
    }

    /// Whether it is what the configuration asks for.
    pub fn is_as(&self, settings: &Settings) -> bool {
        self.settings == *settings
    }

    /// Lines that the disk was too slow for.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Adds a line.
    pub fn note(&self, worker: usize, asked: &Asked, answered: Answered, notes: &Notes) {
        let query = if self.settings.query { Query::Kept } else { Query::Left };
        self.add(worker, |lines| line::write(lines, self.settings.format, query, asked, answered, notes));
    }

    /// Adds the line of a connection that was passed through.
    pub fn note_passed(&self, worker: usize, through: &Through, took: Duration) {
        self.add(worker, |lines| line::write_passed(lines, self.settings.format, through, took));
    }

    fn add(&self, worker: usize, write: impl FnOnce(&mut String)) {
        let Some(batch) = self.batches.get(worker) else { return };
        let mut batch = batch.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut batch);
        if batch.len() >= BATCH {
            let full = std::mem::replace(&mut *batch, String::with_capacity(BATCH + BATCH / 4));
            drop(batch);
            self.hand_over(full);
        }
    }

    /// Hands over what a worker has.
    pub fn flush(&self, worker: usize) {
        let Some(batch) = self.batches.get(worker) else { return };
        let lines = std::mem::take(&mut *batch.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty() {
            self.hand_over(lines);
        }
    }

    fn hand_over(&self, lines: String) {
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) = self.queue.try_send(lines)
        {
            let count = lines.lines().count();
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
            if let Some(suppressed) = self.rate.take() {
                log::warn!(
                    "access log: {count} lines are lost, for writing is too slow or fails{suppressed}"
                );
            }
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        for worker in 0..self.batches.len() {
            self.flush(worker);
        }
    }
}

fn write(mut target: Target, batches: &Receiver<String>) {
    let rate = Rate::default();
    while let Ok(lines) = batches.recv() {
        if let Err(error) = target.write(&lines)
            && let Some(suppressed) = rate.take()
        {
            log::warn!("access log: cannot write to {}: {error}{suppressed}", target.path.display());
        }
    }
}

/// A file, which may be put away and has to be made anew then.
struct Target {
    path: PathBuf,
    file: File,
    looked: Instant,
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, looked: Instant::now() })
    }

    /// In one piece: another process may write to it (take-over).
    fn write(&mut self, lines: &str) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if !self.is_in_place()? {
                self.file = open(&self.path)?;
            }
        }
        self.file.write_all(lines.as_bytes())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(self.path.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http::{Method, StatusCode};

    use super::*;
    use crate::{model::AccessLogFormat, proxy::message::RequestHead};

    fn note(log: &AccessLog, path: &str) {
        let head = RequestHead::new(Method::GET, path.parse().unwrap());
        let asked = Asked::of(&head, "192.0.2.1".parse().unwrap());
        let answered = Answered {
            status: StatusCode::OK,
            sent: 0,
            received: None,
            is_whole: true,
            took: Duration::ZERO,
        };
        log.note(0, &asked, answered, &Notes::default());
    }

    fn settings(folder: &Path) -> Settings {
        Settings { path: folder.join("access.log"), format: AccessLogFormat::Json, query: false }
    }

    fn eventually(path: &Path, what: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text.contains(what) || Instant::now() > end {
                return text;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_is_put_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let log = AccessLog::open(&settings, 1).unwrap();
        note(&log, "/first");
        log.flush(0);
        assert!(eventually(&settings.path, "/first").contains("/first"));
        let away = folder.path().join("access.log.1");
        fs::rename(&settings.path, &away).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !settings.path.exists() && Instant::now() < end {
            note(&log, "/second");
            log.flush(0);
            thread::yield_now();
        }
        assert!(eventually(&settings.path, "/second").contains("/second"));
        assert!(fs::read_to_string(&away).unwrap().starts_with("{\"time\""));
    }

    #[test]
    fn what_is_left_is_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let log = AccessLog::open(&settings, 1).unwrap();
        note(&log, "/last");
        drop(log);
        assert!(eventually(&settings.path, "/last").ends_with("\n"));
    }
}
