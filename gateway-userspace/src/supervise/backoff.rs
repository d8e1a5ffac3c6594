//! How long to wait before a crashed process is started again. Pure.

use std::time::Duration;

/// Before the first restart.
const FIRST: Duration = Duration::from_millis(500);
/// At most.
const LONGEST: Duration = Duration::from_secs(30);
/// A process that ran this long is well: its next crash is a first one again.
const WELL: Duration = Duration::from_secs(60);

/// Doubles from crash to crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a crash of a process that was ready for `ran`.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            *self = Self::new();
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert_eq!(backoff.after(WELL), FIRST);
    }
}
