//! How often the log may say the same.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many lines may come at once …
const BURST: u32 = 10;
/// … and one more each so often: scanners of the internet, or an upstream that is down, must not fill the log.
const INTERVAL: Duration = Duration::from_secs(6);

/// Lets a burst of lines pass and then one an interval.
#[derive(Debug)]
pub struct Rate(Mutex<Bucket>);

/// How many lines were suppressed since the last one. Shown, it is nothing or ends that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suppressed(u64);

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
    suppressed: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self(Mutex::new(Bucket { tokens: BURST, filled: Instant::now(), suppressed: 0 }))
    }
}

impl Rate {
    /// Whether one more line may be written now.
    pub fn take(&self) -> Option<Suppressed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " ({more} more like this were not logged)"),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Option<Suppressed> {
        let intervals = now.saturating_duration_since(self.filled).as_millis() / INTERVAL.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        if intervals > 0 {
            self.tokens = self.tokens.saturating_add(intervals).min(BURST);
            self.filled = now;
        }
        let Some(left) = self.tokens.checked_sub(1) else {
            self.suppressed += 1;
            return None;
        };
        self.tokens = left;
        Some(Suppressed(std::mem::take(&mut self.suppressed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_logged() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: start, suppressed: 0 };
        let logged = (0..100).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(logged, BURST as usize);
        assert_eq!(bucket.take(start + INTERVAL), Some(Suppressed(90)));
        assert_eq!(bucket.take(start + INTERVAL), None);
        assert_eq!(bucket.take(start + 3 * INTERVAL), Some(Suppressed(1)));
    }
}
