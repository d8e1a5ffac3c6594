//! Whether a client sends more frames that are no requests than it has reason to. Pure.
//!
//! A stream that is opened and reset over and over, pings, settings and empty frames without end cost a client next to nothing, and us
//! work.

use std::time::{Duration, Instant};

use super::frame::Said;

/// What is left of the frames that carry neither fields nor data. Each that does earns one, so that a client may cancel half of
/// its requests for as long as it likes; time earns some too, for those who only ping.
#[derive(Debug)]
pub(super) struct Credit {
    left: u32,
    since: Instant,
}

/// A client that does what no client needs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl Credit {
    const MOST: u32 = 1_000;
    const A_SECOND: u64 = 50;

    pub(super) fn new(now: Instant) -> Self {
        Self { left: Self::MOST, since: now }
    }

    /// `now` is asked for only when there is reason to.
    pub(super) fn count(&mut self, said: &Said<'_>, now: impl Fn() -> Instant) -> Result<(), Flood> {
        match said {
            Said::Fields { .. } => self.earn(),
            // Bounded by themselves.
            Said::Part => {}
            Said::Data { flow, .. } if *flow > 0 => self.earn(),
            // The end of a body, and the rest of a frame that is counted.
            Said::Data { ends: true, .. } => {}
            Said::Data { bytes, .. } if !bytes.is_empty() => {}
            // As many as there is data that we sent.
            Said::Window { .. } => {}
            Said::Reset { .. } => self.spend(2, now)?,
            _ => self.spend(1, now)?,
        }
        Ok(())
    }

    fn earn(&mut self) {
        self.left = (self.left + 1).min(Self::MOST);
    }

    fn spend(&mut self, cost: u32, now: impl Fn() -> Instant) -> Result<(), Flood> {
        if self.left < cost {
            let now = now();
            let elapsed = now.saturating_duration_since(self.since);
            if elapsed >= Duration::from_secs(1) {
                let earned = u32::try_from(elapsed.as_secs().saturating_mul(Self::A_SECOND));
                self.left = self.left.saturating_add(earned.unwrap_or(Self::MOST)).min(Self::MOST);
                self.since = now;
            }
        }
        self.left = self.left.checked_sub(cost).ok_or(Flood)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use h2::Reason;

    use super::*;

    const PING: Said<'_> = Said::Ping([0; 8]);

    fn fields() -> Said<'static> {
        Said::Fields { stream: 1, block: &[], ends: true, wrong: false }
    }

    fn data(flow: u32, bytes: &'static [u8], ends: bool) -> Said<'static> {
        Said::Data { stream: 1, flow, unused: 0, bytes, ends }
    }

    /// How many of them a new client may say at once.
    fn most(said: &[Said<'_>]) -> usize {
        let start = Instant::now();
        let mut credit = Credit::new(start);
        (0..20_000).take_while(|n| credit.count(&said[n % said.len()], || start).is_ok()).count()
    }

    #[test]
    fn what_carries_nothing_has_an_end() {
        let reset = || Said::Reset { stream: 1, reason: Reason::CANCEL };
        assert_eq!(most(&[PING]), 1_000);
        assert_eq!(most(&[Said::Else]), 1_000);
        assert_eq!(most(&[data(0, b"", false)]), 1_000);
        assert_eq!(most(&[reset()]), 500);
        // Each request earns half of what giving it up costs.
        assert_eq!(most(&[fields(), reset()]), 2 * 1_000 - 1);
        for endless in [
            &[fields(), fields(), reset()][..],
            &[fields(), PING],
            &[data(1, b"x", false), PING],
            &[data(0, b"", true)],
            &[data(0, b"x", false)],
            &[Said::Window { stream: 1, by: 1 }],
        ] {
            assert_eq!(most(endless), 20_000, "{endless:?}");
        }
    }

    #[test]
    fn who_only_pings_may_do_so_for_ever_if_not_often() {
        let start = Instant::now();
        let mut credit = Credit::new(start);
        for n in 0..10_000 {
            assert!(credit.count(&PING, || start + Duration::from_millis(20 * n)).is_ok(), "{n}");
        }
        let now = start + Duration::from_secs(200);
        let left = (0..).take_while(|_| credit.count(&PING, || now).is_ok()).count();
        assert!(left <= 1_000, "{left}");
    }
}
