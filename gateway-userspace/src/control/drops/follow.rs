//! `gateway drops --follow`: what is dropped from now on. The balancer is asked for its counters again and again, so packets on their
//! way cost the same whether anybody follows or not.

use std::{
    io::{self, Write as _},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use serde::Serialize;

use super::Drops;
use crate::{
    api::client::Client,
    control::explain,
    dataplane::{Dropped, Shown},
};

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// What was dropped of one kind since the question before. A line of JSON.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct More<'d> {
    /// Of this structure; grows when a field changes its meaning.
    schema_version: u32,
    /// RFC 3339.
    time: String,
    /// A VIP, or VIP and port.
    name: &'d str,
    reason: &'d str,
    packets: u64,
    /// One of them, where one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<&'d Shown>,
}

/// Until it is interrupted.
///
/// # Errors
/// No balancer any more.
pub(super) fn follow(client: &Client, json: bool) -> anyhow::Result<()> {
    let ask = || -> anyhow::Result<Vec<Dropped>> {
        let Drops { drops } = client.get("/v1/drops").map_err(|error| explain(error, json))?;
        Ok(drops)
    };
    let mut known = ask()?;
    loop {
        thread::sleep(PAUSE);
        let now = ask()?;
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        for more in since(&known, &now, &time) {
            let line = if json { serde_json::to_string(&more)? } else { more.line() };
            match io::stdout().lock().write_all((line + "\n").as_bytes()) {
                // Whoever reads no further has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("cannot write to stdout")?,
            }
        }
        known = now;
    }
}

/// The kinds that have grown, as the balancer lists them.
fn since<'d>(before: &[Dropped], now: &'d [Dropped], time: &str) -> Vec<More<'d>> {
    let more = |one: &'d Dropped| {
        let known = before.iter().find(|known| (&known.name, &known.reason) == (&one.name, &one.reason));
        // Less than before: the number names another VIP now, and was cleared.
        let packets = match known.map(|known| known.packets) {
            Some(known) if known <= one.packets => one.packets - known,
            _ => one.packets,
        };
        let sample =
            one.sample.as_ref().filter(|shown| known.and_then(|known| known.sample.as_ref()) != Some(*shown));
        let (name, reason) = (one.name.as_str(), one.reason.as_ref());
        let more = More { schema_version: 1, time: time.to_owned(), name, reason, packets, sample };
        (packets > 0).then_some(more)
    };
    now.iter().filter_map(more).collect()
}

impl More<'_> {
    /// `2026-11-25T23:06:32Z 10.0.0.5 no-service +3 eth0: 10.0.7.7:50000 > 10.0.0.5:22 TCP SYN len 74, no-service`
    fn line(&self) -> String {
        let Self { time, name, reason, packets, sample, .. } = self;
        let shown = sample.map_or_else(String::new, |shown| format!(" {}: {}", shown.interface, shown.line));
        format!("{time} {name} {reason} +{packets}{shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(name: &str, packets: u64, shown: Option<&str>) -> Dropped {
        let sample = shown.map(|line| Shown {
            time: "2026-11-25T23:06:32.354Z".into(),
            interface: "eth0".into(),
            length: 74,
            line: line.into(),
            hex: String::new(),
        });
        let (reason, meaning, remedy) = ("no-service".into(), "".into(), "".into());
        Dropped { name: name.into(), reason, packets, meaning, remedy, sample }
    }

    #[test]
    fn what_has_grown_is_told_with_its_packet_once() {
        let before = [dropped("10.0.0.5", 3, Some("one")), dropped("10.0.0.6", 7, None)];
        let now = [
            dropped("10.0.0.5", 5, Some("two")),
            dropped("10.0.0.6", 7, None),
            dropped("10.0.0.7", 1, Some("three")),
        ];
        let lines = |before: &[Dropped], now: &[Dropped]| {
            since(before, now, "now").iter().map(More::line).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(&before, &now),
            ["now 10.0.0.5 no-service +2 eth0: two", "now 10.0.0.7 no-service +1 eth0: three"]
        );
        assert_eq!(lines(&now, &now), [""; 0]);
        let later = [dropped("10.0.0.5", 6, Some("two")), dropped("10.0.0.7", 0, None)];
        assert_eq!(lines(&now, &later), ["now 10.0.0.5 no-service +1"]);
        assert_eq!(lines(&now, &[dropped("10.0.0.6", 2, None)]), ["now 10.0.0.6 no-service +2"]);
    }
}
