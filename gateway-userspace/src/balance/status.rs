//! What the service manager (sd_notify(3)) and the log are told.

use std::{fmt::Display, io, path::Path};

use sd_notify::NotifyState;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// With the time, which `Type=notify-reload` asks for (systemd 253).
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn(&error),
    }
}

/// Ready again either way: an error leaves what was running before.
pub(super) fn reloaded(file: &Path, outcome: anyhow::Result<()>) {
    let file = file.display();
    let status = match outcome {
        Ok(()) => {
            log::info!("{file} is taken up");
            format!("{file} is taken up")
        }
        Err(error) => {
            log::error!("{file} is not taken up, what was running goes on: {error:#}");
            format!("{file} is not taken up; the log has the reason")
        }
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn(&error);
    }
}

fn warn(error: &io::Error) {
    log::warn!("cannot tell the service manager: {error}");
}

/// `a, b, c`
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
