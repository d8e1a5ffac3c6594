//! What is said of ports that run out (R34): each thing once, and once when it is over. Pure.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    model::InstanceName,
    snat::{Report, VipReport},
};

/// In per cent of what an instance has, towards one destination.
const HIGH: u32 = 75;
/// How long that lasts before it is said: more ports come within a second or two where there are some.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long no flow has failed before it is said that there are ports again.
const CALM: Duration = Duration::from_secs(10);

/// What is said of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::balance) enum News {
    /// Three quarters of its ports of a VIP are in use towards one destination.
    High { vip: IpAddr, used: u32, of: u32 },
    /// Not any more.
    NoMoreHigh { vip: IpAddr },
    /// So many flows found no port, those to this destination most of all.
    Exhausted { failed: u64, destination: Option<String> },
    /// None did for a while.
    Recovered,
}

/// What was said.
#[derive(Debug, Default)]
pub(in crate::balance) struct Alarms(BTreeMap<InstanceName, Alarm>);

#[derive(Debug, Default)]
struct Alarm {
    failed: u64,
    /// When that last grew, if that was said.
    exhausted: Option<Instant>,
    /// Since when, and whether that was said.
    high: BTreeMap<IpAddr, (Instant, bool)>,
}

impl Alarms {
    /// What an instance's report is news of. The first one only tells where its counters stand.
    pub(in crate::balance) fn heard(
        &mut self,
        name: &InstanceName,
        report: &Report,
        now: Instant,
    ) -> Vec<News> {
        let failed = report.failed.values().sum();
        let alarm = self.0.entry(name.clone()).or_insert_with(|| Alarm { failed, ..Alarm::default() });
        let mut news = Vec::new();
        // It may have been started anew.
        let grown = failed.saturating_sub(std::mem::replace(&mut alarm.failed, failed));
        if grown > 0 {
            if alarm.exhausted.is_none() {
                let worst = report.top.iter().filter(|top| top.failed > 0).max_by_key(|top| top.failed);
                news.push(News::Exhausted { failed: grown, destination: worst.map(ToString::to_string) });
            }
            alarm.exhausted = Some(now);
        } else if alarm.exhausted.is_some_and(|last| now.saturating_duration_since(last) >= CALM) {
            alarm.exhausted = None;
            news.push(News::Recovered);
        }
        for (&vip, report) in &report.vips {
            news.extend(alarm.high(vip, report, now));
        }
        news
    }

    /// Of these nothing is said any more.
    pub(in crate::balance) fn keep(&mut self, is_known: impl Fn(&InstanceName) -> bool) {
        self.0.retain(|name, _| is_known(name));
    }
}

impl Alarm {
    fn high(&mut self, vip: IpAddr, report: &VipReport, now: Instant) -> Option<News> {
        let (used, of) = (report.busiest, report.allocated);
        if of == 0 || u64::from(used) * 100 < u64::from(of) * u64::from(HIGH) {
            let (_, said) = self.high.remove(&vip)?;
            return said.then_some(News::NoMoreHigh { vip });
        }
        let (since, said) = self.high.entry(vip).or_insert((now, false));
        if *said || now.saturating_duration_since(*since) < PATIENCE {
            return None;
        }
        *said = true;
        Some(News::High { vip, used, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snat::Top;

    fn report(failed: u64, busiest: u32) -> Report {
        let vip = VipReport { allocated: 1024, used: busiest, busiest, ..VipReport::default() };
        let top = |address: &str, failed| Top {
            address: address.parse().unwrap(),
            protocol: "tcp".into(),
            port: 443,
            flows: busiest,
            failed,
        };
        Report {
            vips: [("203.0.113.5".parse().unwrap(), vip)].into(),
            failed: [("no-port".to_owned(), failed)].into(),
            top: vec![top("198.51.100.7", 0), top("198.51.100.8", failed)],
            ..Report::new("gw-1")
        }
    }

    #[test]
    fn r34_exhaustion_is_said_once_with_the_destination_and_so_is_its_end() {
        let (name, start) = (InstanceName("gw-1".into()), Instant::now());
        let mut alarms = Alarms::default();
        let mut at =
            |second, failed| alarms.heard(&name, &report(failed, 0), start + Duration::from_secs(second));
        assert_eq!(at(0, 7), [], "of before");
        let destination = Some("tcp 198.51.100.8:443".to_owned());
        assert_eq!(at(1, 10), [News::Exhausted { failed: 3, destination }]);
        assert_eq!(at(2, 12), []);
        assert_eq!(at(11, 12), []);
        assert_eq!(at(12, 12), [News::Recovered]);
        assert_eq!(at(13, 0), [], "its counters began anew");
        assert_eq!(at(14, 1).len(), 1);
    }

    #[test]
    fn r34_three_quarters_are_said_where_they_last() {
        let (name, start) = (InstanceName("gw-1".into()), Instant::now());
        let vip = "203.0.113.5".parse().unwrap();
        let mut alarms = Alarms::default();
        let mut at =
            |second, busiest| alarms.heard(&name, &report(0, busiest), start + Duration::from_secs(second));
        assert_eq!(at(0, 768), []);
        assert_eq!(at(1, 767), [], "more ports came");
        assert_eq!(at(2, 768), []);
        assert_eq!(at(7, 800), [News::High { vip, used: 800, of: 1024 }]);
        assert_eq!(at(8, 900), []);
        assert_eq!(at(9, 10), [News::NoMoreHigh { vip }]);
    }
}
