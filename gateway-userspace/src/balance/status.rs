//! What the service manager (sd_notify(3)) and the log are told.

use std::{fmt::Display, path::Path};

use sd_notify::NotifyState;

use crate::{
    api::{Applied, Refused},
    service_manager::tell,
};

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Ready again either way: an error leaves what was running before.
pub(super) fn reloaded(file: &Path, outcome: &Result<Applied, Refused>) {
    let file = file.display();
    let status = match outcome {
        Ok(Applied { changed: false, generation, .. }) => {
            format!("{file} says what is so already: nothing to do, generation {generation}")
        }
        Ok(Applied { generation, buckets, entries, .. }) => {
            format!(
                "{file} is taken up as generation {generation}: {buckets} buckets and {entries} other entries written"
            )
        }
        Err(refused) => {
            // Faults are drawn with the lines they are in.
            let pause = if matches!(refused, Refused::Faults(..)) { '\n' } else { ' ' };
            log::error!("{file} is not taken up, what was running goes on:{pause}{}", refused.text());
            format!("{file} is not taken up; the log has the reason")
        }
    };
    if outcome.is_ok() {
        log::info!("{status}");
    }
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// `a, b, c`
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
