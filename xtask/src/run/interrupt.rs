//! Ctrl-C and SIGTERM: the lab is taken down in order, not torn.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Whether the first signal has come. A second one ends the process at once; the kernel then takes the lab away.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<(Mutex<bool>, Condvar)>);

impl Interrupt {
    /// Listens from now on.
    pub(super) fn watch() -> Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupted, mut terminated) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).context("listening for signals");
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
        };
        let told = interrupt.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupted.recv() => {}, _ = terminated.recv() => {} }
                eprintln!("\nTaking the lab down (once more: at once).");
                told.tell();
                tokio::select! { _ = interrupted.recv() => {}, _ = terminated.recv() => {} }
                std::process::exit(130);
            });
        })?;
        Ok(interrupt)
    }

    fn tell(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for it, for so long.
    pub(super) fn came_within(&self, time: Duration) -> bool {
        let came = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(came, time, |came| !*came);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Between two pieces of work.
    ///
    /// # Errors
    /// It came.
    pub(super) fn check(&self) -> Result<()> {
        if self.came_within(Duration::ZERO) {
            bail!("interrupted");
        }
        Ok(())
    }
}
