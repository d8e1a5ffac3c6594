//! Waiting for something to become true, instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks: short against what is waited for, long against a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `check` has something, or `deadline` has passed: then the last look decides.
pub fn until<T>(deadline: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether `check` becomes true before `deadline` has passed.
pub fn eventually(deadline: Duration, mut check: impl FnMut() -> bool) -> bool {
    until(deadline, || check().then_some(())).is_some()
}
