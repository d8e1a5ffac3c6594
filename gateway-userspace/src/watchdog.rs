//! The service manager's watchdog (sd_notify(3), `WatchdogSec=`): it restarts what does not say in time that it is alive.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::service_manager;

/// When to say so next; never where nobody wants to hear it.
#[derive(Debug)]
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As the service manager asks of this process by its environment. Needs to be called in a tokio runtime.
    pub fn asked() -> Self {
        Self::every(sd_notify::watchdog_enabled())
    }

    /// Twice in that time, as is recommended.
    fn every(limit: Option<Duration>) -> Self {
        Self(limit.filter(|limit| !limit.is_zero()).map(|limit| {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until it is time for [`alive`]. Safe to drop half-way.
    pub async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}

/// Says so. To be called by what has to be alive, and by nothing beside it.
pub fn alive() {
    service_manager::tell(&[NotifyState::Watchdog]);
}

/// How often the pulse of a thread beats.
const BEAT: Duration = Duration::from_secs(1);

/// A thread's sign of life for another one.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Beats for as long as the runtime of this thread runs its tasks.
    pub async fn beat(&self) {
        let mut ticks = interval(BEAT);
        loop {
            ticks.tick().await;
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it has beaten.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn it_is_due_as_often_as_was_asked_for_and_else_never() {
        run(async {
            let mut watchdog = Watchdog::every(Some(Duration::from_millis(2)));
            watchdog.due().await;
            watchdog.due().await;
            let mut never = Watchdog::every(None);
            tokio::select! {
                () = never.due() => panic!("nobody asked"),
                () = watchdog.due() => {}
            }
        });
    }

    #[test]
    fn a_pulse_beats_while_its_tasks_run() {
        run(async {
            let pulse = Arc::new(Pulse::default());
            let beating = Arc::clone(&pulse);
            let task = tokio::spawn(async move { beating.beat().await });
            while pulse.count() == 0 {
                tokio::task::yield_now().await;
            }
            task.abort();
        });
    }
}
