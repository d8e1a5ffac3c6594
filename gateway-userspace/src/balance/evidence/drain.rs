//! What an instance has to know of its drain. Pure: time is an argument.

use std::time::{Duration, Instant};

/// How much earlier an instance's drain ends than the balancer's: what it says at the end still goes both ways.
const EARLIER: Duration = Duration::from_secs(1);
/// How long after the end of a drain the instance may still be at ending what is left.
const AFTER: Duration = Duration::from_secs(10);
/// How long one that is removed is told so.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is drained, for so long yet.
    Drained(Duration),
    /// It is drained no more.
    Over,
}

/// What one instance was told.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// The end of the last drain.
    end: Option<Instant>,
    /// When it was first to be told that it is not drained.
    over: Option<Instant>,
    /// It has said that it knows.
    known_over: bool,
}

impl Drain {
    /// What to tell it. That it is drained is told again and again, since it may have been started anew; that it is not, until
    /// it has answered once: also in the beginning, since a balancer may have drained it that ran before this one.
    pub(super) fn news(&mut self, drained: Option<Instant>, now: Instant) -> Option<News> {
        let Some(end) = drained else {
            self.over.get_or_insert(now);
            // At the end of its time it ends what is left by itself.
            let is_ending = self.end.is_some_and(|end| end <= now && now < end + AFTER);
            return (!self.known_over && !is_ending).then_some(News::Over);
        };
        *self = Self { end: Some(end), over: None, known_over: false };
        let left = end.saturating_duration_since(now);
        (!left.is_zero()).then_some(News::Drained(left.saturating_sub(EARLIER)))
    }

    /// It has answered that it knows it is not drained.
    pub(super) fn is_known_over(&mut self) {
        self.known_over = true;
    }

    /// Whether a removed one needs to be told nothing more.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.known_over || self.over.is_some_and(|since| now.saturating_duration_since(since) > PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn r83_a_drain_is_told_again_and_again_and_its_end_until_it_is_known() {
        let start = Instant::now();
        let mut drain = Drain::default();
        assert_eq!(drain.news(None, start), Some(News::Over), "a balancer before may have drained it");
        drain.is_known_over();
        assert_eq!(drain.news(None, start), None);
        let end = start + 100 * SECOND;
        assert_eq!(drain.news(Some(end), start), Some(News::Drained(99 * SECOND)));
        assert_eq!(drain.news(Some(end), start + 3 * SECOND), Some(News::Drained(96 * SECOND)));
        assert_eq!(drain.news(None, start + 6 * SECOND), Some(News::Over), "taken back");
        assert_eq!(drain.news(None, start + 9 * SECOND), Some(News::Over), "it has not answered");
        drain.is_known_over();
        assert!(drain.is_settled(start + 9 * SECOND));
    }

    #[test]
    fn r83_at_the_end_of_its_time_it_is_left_to_end_the_rest() {
        let start = Instant::now();
        let mut drain = Drain::default();
        let end = start + 10 * SECOND;
        assert_eq!(drain.news(Some(end), end - SECOND / 2), Some(News::Drained(Duration::ZERO)));
        assert_eq!(drain.news(Some(end), end), None);
        assert_eq!(drain.news(None, end + SECOND), None);
        assert_eq!(drain.news(None, end + AFTER), Some(News::Over));
        assert!(!drain.is_settled(end + AFTER));
        assert!(drain.is_settled(end + SECOND + PATIENCE + SECOND), "it does not answer any more");
    }
}
