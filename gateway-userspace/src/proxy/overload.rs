//! Turns requests away before all of them become slow.
//!
//! A worker that has more to do than time has a queue, and what waits in it waits ever longer. The wait is measured by a timer
//! that comes late by as much; while it is long for a whole interval, a growing share of new requests is answered with 503 at once, which
//! is much less work than to serve them (after CoDel, RFC 8289: the least wait of an interval tells a queue that stands from a burst).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::worker::Worker;

/// How often the wait is measured.
const SAMPLE: Duration = Duration::from_millis(10);
/// So many samples are an interval …
const SAMPLES: u32 = 10;
/// … after which the share that is turned away grows by so many of 256 …
const MORE: u32 = 24;
/// … or shrinks.
const LESS: u32 = 12;
/// Somebody is always served: by whom, else, would it be seen that the worst is over?
const MOST: u32 = 240;

/// How a worker bears its load.
#[derive(Debug, Default)]
pub struct Overload {
    /// Of 256 new requests so many are turned away.
    share: AtomicU32,
    turn: AtomicU32,
    in_flight: Arc<AtomicUsize>,
}

/// A request that was let in. Dropped, it has ended.
#[derive(Debug)]
pub struct Admitted(Arc<AtomicUsize>);

impl Overload {
    /// Lets a request in, if there are fewer than `most` and the worker keeps up.
    pub fn admit(&self, most: usize) -> Option<Admitted> {
        if self.turns_away() || self.in_flight.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Admitted(Arc::clone(&self.in_flight)))
    }

    fn turns_away(&self) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        // 151 is odd: in 256 turns each number comes once, and not in a row.
        share > 0 && self.turn.fetch_add(151, Ordering::Relaxed) % 256 < share
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches a worker's queue, on its own thread and for its life.
pub async fn watch(worker: Arc<Worker>) {
    let mut control = Control::default();
    loop {
        let due = Instant::now() + SAMPLE;
        sleep_until(due).await;
        let wait = due.elapsed();
        let before = control.share;
        if control.sample(wait, worker.limits.queue_wait) {
            worker.overload.share.store(control.share, Ordering::Relaxed);
        }
        match (before, control.share) {
            (0, 1..) => log::warn!(
                "overloaded: requests wait for {} ms; some are answered with 503 until that is over",
                wait.as_millis()
            ),
            (1.., 0) => log::info!("no longer overloaded"),
            _ => {}
        }
    }
}

/// What share is turned away. Pure.
#[derive(Debug, Default)]
struct Control {
    share: u32,
    least: Option<Duration>,
    samples: u32,
}

impl Control {
    /// Takes a measured wait; true if an interval is over, and with it what share held.
    fn sample(&mut self, wait: Duration, bearable: Duration) -> bool {
        let least = self.least.map_or(wait, |least| least.min(wait));
        self.least = Some(least);
        self.samples += 1;
        // A wait that is over is told at once.
        if self.samples < SAMPLES && (least > bearable || self.share == 0) {
            return false;
        }
        self.share = match least > bearable {
            true => (self.share + MORE).min(MOST),
            false => self.share.saturating_sub(LESS),
        };
        (self.least, self.samples) = (None, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEARABLE: Duration = Duration::from_millis(100);

    fn after(control: &mut Control, waits: &[u64], times: usize) -> u32 {
        for wait in waits.iter().cycle().take(waits.len() * times) {
            control.sample(Duration::from_millis(*wait), BEARABLE);
        }
        control.share
    }

    #[test]
    fn a_burst_turns_nobody_away_and_a_queue_that_stands_does() {
        let mut control = Control::default();
        assert_eq!(after(&mut control, &[500, 500, 500, 0, 500, 500, 500, 500, 500, 500], 20), 0);
        assert_eq!(after(&mut control, &[150; 10], 1), MORE);
        assert_eq!(after(&mut control, &[150; 10], 100), MOST, "never everybody");
    }

    #[test]
    fn once_the_queue_is_gone_all_are_let_in_again() {
        let mut control = Control::default();
        after(&mut control, &[150; 10], 100);
        assert!(after(&mut control, &[0; 1], 1) < MOST, "a good sample ends an interval");
        assert_eq!(after(&mut control, &[0; 10], 3), 0);
    }

    #[test]
    fn just_the_share_is_turned_away_and_not_in_a_row() {
        let overload = Overload::default();
        for share in [0, 1, 24, 128, 240] {
            overload.share.store(share, Ordering::Relaxed);
            let away = (0..256).filter(|_| overload.admit(usize::MAX).is_none()).count();
            assert_eq!(away, share as usize);
        }
        overload.share.store(128, Ordering::Relaxed);
        let run: Vec<_> = (0..256).map(|_| overload.turns_away()).collect();
        assert!(run.chunk_by(|one, other| one == other).all(|same| same.len() < 8));
    }

    #[test]
    fn requests_in_flight_are_bounded() {
        let overload = Overload::default();
        let first = overload.admit(2);
        let _second = overload.admit(2);
        assert!(overload.admit(2).is_none());
        drop(first);
        assert!(overload.admit(2).is_some());
    }
}
